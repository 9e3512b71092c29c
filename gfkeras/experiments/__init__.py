"""Experiments of the papers: ablations, plots, model inversion, data cleaning and studies."""
