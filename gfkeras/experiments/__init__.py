"""The seed papers' experiments: ablations, figures, model inversion, data cleaning, studies."""
