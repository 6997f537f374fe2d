"""The contents that an advertiser can show: a fashion show, an opinion leader's review, a virtual trial.

Which content suits which stage is published (a show for consumers who do not know the brand, a review for those who do,
a trial for those close to buying); everything with a number in it is ours.
"""

CONTENTS = ("show", "review", "trial")
"""What a content counts from 0."""
