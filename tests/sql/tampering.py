"""The words that verify has for what is wrong, and how the tests find the rows that they change."""

# Licenses
BALANCE_IS_SUM = "balance is the sum of the entries"
HELD_IS_SUM = "held is the sum of the open holds"
HELD_IN_BALANCE = "0 <= held <= balance"
COUNTER = "the entry counter is the last entry number"

# Ledger
GAPS = "entry numbers have no gaps"
CHAIN = "balances chain"
CHARGE_NAMES_HOLD = "a charge names its hold and carries its key and price"
PRICE_TIMES_USAGE = "a charge is its price times its usage"
CLIENT_CHARGE = "a client is charged what it held at most"
REFUND = "refunds give back what their entry took at most"
SHORT = "what is short of something took all of its hold"

# Holds
ONE_CHARGE = "a settled hold has exactly one charge, no other hold has one"
DELIVERED = "a delivered answer is paid for"
OVERDUE = "an open hold is of a process or a client, and not long overdue"

# Grants
GRANTS_LEFT = "the balance is what the grants have left, less what was used since"
ALLOTTED = "what changes the set of grants is allotted at once"
GRANT_IS = "a grant is what is left, what lapsed and what was drawn"
LAPSED = "what lapsed of a grant has its entries"
STARTED = "a grant that has started has its entry, and no other has one"
OF_A_GRANT = "an entry that gives or takes credits of a grant names one"
SPAN = "what was used in a span of entries is allotted, and no more"
NEXT_CHANGE = "the next change of the grants is not missed"

# The audit trail
HAS_ACT = "what an operator did to a balance has its act"
TO_COME = "a grant to come has its act"
REFUND_HAS_ACT = "a refund has its act"
REFUND_OF_ACT = "an act of a refund has its entry"
ACT_NAMES = "an act names what it did"
TOKEN = "a token is as its acts say"

# Usage
USAGE = "usage is what the entries up to its watermark say"
WATERMARK = "no usage is rolled up that is not in the ledger"

# Idempotency
KEY_NAMES = "an idempotency key in force names what it did"
KEY_FREED = "a freed idempotency key names nothing that was charged"
KEY_KEPT = "a keyed hold has its key for thirty days"
ANSWER = "a stored answer is of a settled hold"

# The archive
ARCHIVED_DONE = "what is archived was allotted and rolled up"
ARCHIVED_DAYS = "archived days add up to the archived balance"
ARCHIVED_FILES = "what is archived is in files, one after the other"
ARCHIVED_ACT = "what is archived has its act"
ARCHIVED_USAGE = "archived usage is what the archived days say"
ARCHIVED_VOIDS = "archived voids of a payment are of what archived entries took of its grant"

# The business by time
BUSINESS = "the business by time is what its entries say"

LICENSE = "WHERE license_id = %(license_id)s"
HOLD = f"{LICENSE} AND hold_id = "
ENTRY = f"{LICENSE} AND entry_no = "
KEY = f"{LICENSE} AND idempotency_key = "
GRANT = f"{LICENSE} AND grant_id = "
