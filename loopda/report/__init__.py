"""Pages and tables: of an experiment (stage `report`) and of a comparison (stage `compare`)."""
