"""A folder of the user's, walked and read in the order in which a change set wants it."""
