"""The market on a GPU: many independent days in step on one torch device, with the CPU market's results.

Money and winners are those of ``tribid.envs.market`` to the micro. Needs torch (``pip install 'tribid[train]'``); the fused
engine needs Triton as well and a CUDA device (``pip install 'tribid[gpu]'``).
"""
