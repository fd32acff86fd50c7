"""Looking into a state directory from outside: is it whole, what is in it, and taking weights and scalers out.

Nothing here changes a state directory, and nothing here needs torch.
"""
