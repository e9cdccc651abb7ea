"""Where bits lie: packed images, weights, tables, and the words by which kernels are called."""
