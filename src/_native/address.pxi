# (binding to come)
