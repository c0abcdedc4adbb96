"""Acting for somebody: trusts, application credentials, and programs by OAuth."""
