"""The market on a GPU: many independent days in step on one torch device, with the CPU market's results.

Money and winners are those of ``tribid.envs.market`` to the micro. Needs torch (``pip install 'tribid[train]'``); the fused
engine needs Triton as well and a CUDA device (``pip install 'tribid[gpu]'``).

Tested on the CPU, with the kernels interpreted, and compiled for sm_90; not yet run on a GPU, and no speed is measured.
"""
