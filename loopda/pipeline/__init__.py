"""What the Snakefile needs, without PyTorch: stages, experiments, comparisons, jobs, and the configuration schema."""
