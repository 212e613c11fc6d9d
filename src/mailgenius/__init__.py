"""mailgenius: email-marketing back ends with millions of leads."""
