"""What the commands on a run and a tenant share: the open run, and what is done before and around a load."""
