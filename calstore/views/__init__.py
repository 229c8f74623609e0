"""Views: what a run gets, and directories that psana reads."""
