"""What the files of others look like: psana text, npy and HISTORY, read and written."""
