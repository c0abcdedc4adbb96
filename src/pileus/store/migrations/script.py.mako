"""${message}."""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
UUID = sa.String(36).with_variant(sa.Uuid(), "postgresql")


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
