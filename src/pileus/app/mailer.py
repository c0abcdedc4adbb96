"""The mail server that the configuration names."""

from pathlib import Path

from pileus.config import Config
from pileus.drivers.mail.protocol import Mailer
from pileus.drivers.mail.smtp import SmtpMailer


def mailer(config: Config) -> Mailer | None:
    """None without one. Raises OSError when the password's file cannot be read."""
    if not config.smtp_host:
        return None
    password = Path(config.smtp_password_file).read_text().strip() if config.smtp_password_file else ""
    return SmtpMailer(
        host=config.smtp_host,
        port=config.smtp_port,
        sender=config.smtp_from,
        user=config.smtp_user,
        password=password,
        tls=config.smtp_tls,
    )
