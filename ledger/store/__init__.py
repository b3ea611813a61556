"""PostgreSQL: where the book is kept. SQLAlchemy Core for transactions; hot queries as named SQL."""
