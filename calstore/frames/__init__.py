"""Where raw frames come from: psana through a bridge, HDF5, zarr, npy."""
