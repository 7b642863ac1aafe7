"""What words in headers and cells mean: roles, statuses, dates and types of rows; which column has a role."""
