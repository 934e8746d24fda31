"""Lambda on this machine: each function of lambda/functions in processes of its own, behind Lambda's Invoke."""
