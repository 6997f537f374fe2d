"""What a ranker does to money when it is killed, or besieged: real server processes, judged by their journal."""
