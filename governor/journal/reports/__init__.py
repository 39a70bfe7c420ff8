"""What people look at: figures over the calls of an archive, put on pages of tables and charts."""
