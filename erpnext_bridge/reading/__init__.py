"""Reading what was compiled: page by page, group by group, or only told."""
