"""The paper's equations and the losses made of them."""
