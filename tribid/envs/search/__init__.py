"""A search scene: what is listed, how it is ranked, and what people do with the results.

The factors and their order follow what is told in public of Taobao's search (relevance, popularity, rotation by time on the
shelf, service, price, person, desktop weight carried to mobile); every number here is ours, for none is published.
"""
