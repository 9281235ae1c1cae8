"""All that is here because PyTorch has it: longer method names, functions, dtypes and devices, printing, utilities."""
