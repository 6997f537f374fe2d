"""Policies for others' servers: a folder that can be served, and ONNX files beside the policy files."""
