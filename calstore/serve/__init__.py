"""The web service: psana2's protocol over versions of a store."""
