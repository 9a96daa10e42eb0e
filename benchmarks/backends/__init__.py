"""What else could run the steps of a language model: OpenVINO, onnxruntime and PyTorch's own kernels beside our C++."""
