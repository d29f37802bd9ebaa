"""The demo company: an ERPNext-like site's customers, items and orders, the same at every start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from .store import hash_name
from .world import ADMINISTRATOR, HERE, User, World

Row = dict[str, Any]
Tree = Mapping[str, "Tree"]

SEED = 20261123
TODAY = date(2026, 11, 23)
# Naive, as Frappe stores them: moments in the site's time zone.
FOUNDATION = datetime.fromisoformat("2024-01-08 10:00")
FIRST_CUSTOMER_DAY = datetime.fromisoformat("2024-03-05")
FIRST_DAY = datetime.fromisoformat("2025-11-24")
FIRST_ITEM_DAY = datetime.fromisoformat("2024-02-01")
FIRST_LEAD_DAY = datetime.fromisoformat("2026-01-02")
FIRST_TODO_DAY = datetime.fromisoformat("2026-09-23")
LATEST = datetime.fromisoformat("2026-11-22 23:00")
IMPORTED = datetime.fromisoformat("2024-03-04 09:00")
"""When the first customers came in, all at once: many rows share this moment."""
NIGHTLY_RUN = datetime.fromisoformat("2026-09-01 02:00")
"""When one job touched many orders: they share `modified`."""

COMPANY, CURRENCY, ZONE = "Bridge Trading", "EUR", "Europe/Berlin"
ALICE, BOB = "alice@example.com", "bob@example.com"
BOBS_TERRITORY = "North"

CUSTOMERS, PEOPLE, ORDERS, LEADS, TODOS = 240, 60, 400, 40, 30
BUYERS = 200
"""Customers with orders; the others may be deleted."""

# -- words ---------------------------------------------------------------------------------------------------

SPECIAL_NAMES = (
    "O'Brien & Daughters",
    'The "Quoted" Company',
    "A/B Testing Ltd",
    "N/A",
    "100% Cotton",
    "50% Off / Outlet",
    "Percent %20 Encoded",
    "Studio #9",
    "Hash#Tag & Co.",
    "R&D Works",
    "Fish &amp; Chips",
    "Who? What? Where?",
    "Search?q=1&page=2",
    "C++ Consulting",
    "Plus+Minus",
    "Equals=Same",
    "under_score Labs",
    "Back\\slash Systems",
    "Semi;colon",
    "Comma, Inc.",
    "Colon: A Subtitle",
    "[Square] Brackets",
    "{Curly} Braces",
    "Tilde~Works",
    "Star*Fish",
    "Pipe|Line",
    "At@Home",
    "$ave More",
    "Dot.Dot.Dot...",
    "L’Apostrophe Courbe",
    "Dash – Em — Dash",
    "Null & Void",
    "None of the Above",
    "404",
    "1e3 Metrics",
    "Emoji 🚀 Rockets",
    "École d'Été",
    "ÅÄÖ Möbler AB",
    "straße 7",
    "ﬁne Ligatures",
    "Two  Blanks",
    "The Exceedingly Long Name of a Company That Never Saw a Reason to Shorten What Its Founders Wrote Down",
)


class Culture(NamedTuple):
    forms: tuple[str, ...]
    companies: tuple[str, ...]
    first: tuple[str, ...]
    last: tuple[str, ...]


def _culture(forms: str, companies: str, first: str, last: str) -> Culture:
    return Culture(*(tuple(part.split("|")) for part in (forms, companies, first, last)))


CULTURES = (
    _culture(
        "{} Ltd|{} & Sons|{} Trading Co.",
        "Harbour|Oak Lane|Northgate|Miller's|Thistle|King's Row",
        "Grace|Owen|Siân|Zoë",
        "O'Neill|Fitz-Gerald|Ward|D'Arcy",
    ),
    _culture(
        "{} GmbH & Co. KG|Gebrüder {}|{} AG",
        "Müller|Größer|Jäger|Köhler|Weiß|Übersee",
        "Jürgen|Käthe|Björn|Sören",
        "Böhm|Strauß|Krämer|Günther",
    ),
    _culture(
        "{} S.A.R.L.|Maison {}|{} & Cie",
        "L'Étoile|Château Rouge|Forêt|Ça Va|Œuvre d'Art|Crêperie Noël",
        "François|Zélie|Anaïs|Benoît",
        "Lefèvre|D'Aubigné|Garçon|Châtelain",
    ),
    _culture(
        "{} S.A.|Hermanos {}|{} e Hijos",
        "Peñasco|Muñoz|Corazón|Andalucía|El Niño|Añil",
        "José|Begoña|Íñigo|Lucía",
        "Núñez|Ibáñez|Güell|Peña",
    ),
    _culture(
        "{} Ltda.|Irmãos {}",
        "São João|Conceição|Açores|Pão Quente",
        "João|Inês|Conceição",
        "Magalhães|Simões|Leitão",
    ),
    _culture(
        "{} Sp. z o.o.|Zakład {}",
        "Łódź|Żubr|Święty Marcin|Źródło|Gęś",
        "Łukasz|Żaneta|Zdzisław",
        "Wałęsa|Żeromski|Kościuszko",
    ),
    _culture("{} s.r.o.|U {}", "Řeka|Český Dub|Žižkov|Příbram", "Jiří|Božena|Šárka", "Dvořák|Čapek|Růžička"),
    _culture(
        "{} A.Ş.|{} Ticaret", "İstanbul|Güneş|Çınar|Şahin|Ilgın", "Gül|Çağla|İsmail", "Öztürk|Yıldız|Şimşek"
    ),
    _culture(
        "{} A/S|{} AB|{} & Sønn",
        "Ærø|Ångström|Fjäll|Bjørn|Þór",
        "Åse|Søren|Björk",
        "Østergård|Sjöberg|Ægisson",
    ),
    _culture(
        "{} Α.Ε.|Αφοί {}", "Αθηνά|Όλυμπος|Θάλασσα|Ελιά|Ήλιος", "Γιώργος|Ελένη|Άννα", "Παπαδόπουλος|Ωνάσης"
    ),
    _culture(
        "ООО «{}»|ТОВ {}", "Берёзка|Волга|Щит|Ёлка|Київ|Їжак", "Фёдор|Юлия|Олексій", "Щукин|Йорданова|Ґалаґан"
    ),
    _culture("{}贸易有限公司|{}商店", "东方|长城|龙|竹林|明珠", "伟|芳|秀英", "王|李|欧阳"),
    _culture(
        "株式会社{}|{}商事", "さくら|東京|富士山|ラーメン|ﾊﾝｶｸ", "花子|タロウ|ゆき", "山田|佐藤|ワタナベ"
    ),
    _culture("{} 주식회사|{} 상사", "한강|서울|백두|무궁화", "지우|민준", "김|이|박"),
    _culture("شركة {}|{} للتجارة", "النور|الصحراء|الفجر|القدس", "محمد|فاطمة|يوسف", "الخطيب|حدّاد"),
    _culture('{} בע"מ', "שלום|גליל|אור", "דוד|רות", "כהן|לוי"),
    _culture("{} प्राइवेट लिमिटेड|{} एण्ड सन्स", "सूर्य|गंगा|हिमालय", "अर्जुन|मीरा", "शर्मा|सिंह"),
    _culture(
        "Công ty {}|{} JSC", "Hà Nội|Nguyễn|Đông Á|Sông Hương", "Thị Ánh|Đức|Hữu Phước", "Nguyễn|Trần|Đặng"
    ),
)

COUNTRIES = {
    "Germany": "de",
    "France": "fr",
    "Sweden": "se",
    "Greece": "gr",
    "Japan": "jp",
    "United States": "us",
}


class Money(NamedTuple):
    rate: float
    symbol: str
    fraction: str
    number_format: str


MONIES = {
    "EUR": Money(1.0, "€", "Cent", "#.###,##"),
    "USD": Money(0.87, "$", "Cent", "#,###.##"),
    "GBP": Money(1.14, "£", "Penny", "#,###.##"),
    "CHF": Money(1.07, "CHF", "Rappen", "#'###.##"),
    "SEK": Money(0.091, "kr", "Öre", "# ###,##"),
}

TERRITORIES: Tree = {
    "All Territories": {
        "North": {},
        "South": {"South Coast": {}, "South Islands": {}},
        "East": {},
        "West": {"West Hills": {}},
        "Rest Of The World": {},
    }
}
CUSTOMER_GROUPS: Tree = {
    "All Customer Groups": {
        "Commercial": {"Retail": {}, "Wholesale": {}},
        "Individual": {},
        "Non Profit": {},
        "Government": {},
    }
}
ITEM_GROUPS: Tree = {
    "All Item Groups": {
        "Furniture": {"Seating": {}, "Tables": {}, "Storage": {}},
        "Lighting": {},
        "Consumables": {},
        "Services": {},
    }
}
# Repeated names come up more often.
SOLD_IN = (
    "North",
    "North",
    "South Coast",
    "South Islands",
    "South",
    "East",
    "West",
    "West Hills",
    "Rest Of The World",
)
COMPANY_GROUPS = ("Commercial", "Retail", "Retail", "Wholesale", "Non Profit", "Government")

WHOLE_UNITS = {"Nos": 1, "Box": 1, "Kg": 0, "Litre": 0, "Metre": 0, "Hour": 0}


class Product(NamedTuple):
    code: str
    name: str
    group: str
    unit: str
    cents: int


PRODUCTS = (
    Product("CHAIR", "Chair", "Seating", "Nos", 8900),
    Product("STOOL", "Bar Stool", "Seating", "Nos", 6450),
    Product("SOFA", "Sofa", "Seating", "Nos", 89900),
    Product("TABLE", "Dining Table", "Tables", "Nos", 45900),
    Product("DESK", "Writing Desk", "Tables", "Nos", 32550),
    Product("SHELF", "Bookshelf", "Storage", "Nos", 15995),
    Product("CHEST", "Chest of Drawers", "Storage", "Nos", 27500),
    Product("LAMP", "Floor Lamp", "Lighting", "Nos", 7495),
    Product("BULB", "Light Bulb", "Lighting", "Box", 1290),
    Product("OIL", "Wood Oil", "Consumables", "Litre", 1850),
    Product("FABRIC", "Fabric", "Consumables", "Metre", 2400),
    Product("ASSEMBLY", "Assembly", "Services", "Hour", 5800),
)
FINISHES = ("Oak", "Walnut", "White", "Anthracite", "Crème Brûlée")
# Codes that need care in addresses and filters, in place of the regular ones.
ODD_CODES = {"BULB-Oak": "BULB 60W/E27", "OIL-White": "OIL 5% #2", "FABRIC-Walnut": "FABRIC&TRIM"}


class Standing(NamedTuple):
    """What one status of an order implies."""

    status: str
    docstatus: int
    delivered: int = 0
    billed: int = 0
    delivery: str = "Not Delivered"
    billing: str = "Not Billed"


DRAFT = Standing("Draft", 0)
CANCELLED = Standing("Cancelled", 2)
ON_HOLD = Standing("On Hold", 1)
OPEN = Standing("To Deliver and Bill", 1)
PARTLY = Standing("To Deliver and Bill", 1, delivered=50, delivery="Partly Delivered")
TO_BILL = Standing("To Bill", 1, delivered=100, delivery="Fully Delivered")
TO_DELIVER = Standing("To Deliver", 1, billed=100, billing="Fully Billed")
COMPLETED = Standing("Completed", 1, 100, 100, "Fully Delivered", "Fully Billed")
CLOSED = Standing("Closed", 1, delivery="Closed", billing="Closed")
OLD = (COMPLETED,) * 14 + (CLOSED, CANCELLED, CANCELLED, TO_BILL, ON_HOLD)
RECENT = (
    (DRAFT,) * 5 + (OPEN,) * 7 + (PARTLY, PARTLY, TO_BILL, TO_BILL, TO_DELIVER, COMPLETED, ON_HOLD, CANCELLED)
)
RECENT_DAYS = 100
AMENDED_EVERY = 4
"""Every fourth cancelled order has a successor."""

LEAD_STATUSES = (
    "Lead",
    "Lead",
    "Open",
    "Open",
    "Replied",
    "Opportunity",
    "Quotation",
    "Interested",
    "Do Not Contact",
)
JOB_TITLES = ("Buyer", "Owner", "Architect", "Office Manager", "Head of Purchasing")
EMPLOYEES = ("1-10", "11-50", "51-200", "201-500", "501-1000", "1000+")
TASKS = (
    "Call {} about the delivery",
    "Send the new price list to {}",
    "Ask {} for the signed offer",
    "Check the address of {}",
    "Thank {} for the visit",
)
PRIORITIES = ("Medium", "Medium", "High", "Low")

# -- the world -----------------------------------------------------------------------------------------------


def demo_world(seed: int = SEED) -> World:
    """A world of its own for each caller; another seed mixes the same words differently."""
    world = World.load(HERE / "erpnext.json")
    maker = _Maker(Random(seed))  # noqa: S311
    world.rows = maker.rows()
    world.series = maker.series
    world.time_zone, world.today = ZONE, TODAY.isoformat()
    for user in _users():
        world.add_user(user)
    world.user_permissions = [
        {
            "user": BOB,
            "allow": "Territory",
            "for_value": BOBS_TERRITORY,
            "apply_to_all_doctypes": 1,
        }
    ]
    return world


def _users() -> Iterator[User]:
    yield User(ADMINISTRATOR, ADMINISTRATOR, ["Administrator", "System Manager"], password="admin")
    sales = ["Sales User", "Sales Manager", "Sales Master Manager", "Item Manager"]
    yield User(ALICE, "Alice Adams", sales, password="alice-sandbox")
    yield User(BOB, "Bob Brown", ["Sales User"], password="bob-sandbox")


def _stamp(created: datetime, modified: datetime, owner: str, editor: str) -> Row:
    return {
        "creation": created.isoformat(" ", "microseconds"),
        "modified": modified.isoformat(" ", "microseconds"),
        "owner": owner,
        "modified_by": editor,
        "docstatus": 0,
        "idx": 0,
    }


FOUNDED = _stamp(FOUNDATION, FOUNDATION, ADMINISTRATOR, ADMINISTRATOR)


def _named(field: str, name: str, **values: Any) -> Row:
    return {"name": name, field: name, **FOUNDED, **values}


def _tree(field: str, nodes: Tree, parent: str = "", left: int = 1) -> list[Row]:
    """Rows of a nested set in depth-first order; `left` is the first free bound."""
    rows = []
    for name, below in nodes.items():
        inner = _tree(field, below, name, left + 1)
        right = left + 1 + 2 * len(inner)
        place = {"lft": left, "rgt": right, "is_group": int(bool(below)), "old_parent": parent}
        rows += [_named(f"{field}_name", name, **place, **{f"parent_{field}": parent or None}), *inner]
        left = right + 1
    return rows


def _settings_rows() -> dict[str, list[Row]]:
    company = {"abbr": "BT", "default_currency": CURRENCY, "country": "Germany", "lft": 1, "rgt": 2}
    return {
        "Country": [_named("country_name", name, code=code) for name, code in COUNTRIES.items()],
        "Currency": [_currency(code, money) for code, money in MONIES.items()],
        "UOM": [
            _named("uom_name", name, enabled=1, must_be_whole_number=whole)
            for name, whole in WHOLE_UNITS.items()
        ],
        "Company": [_named("company_name", COMPANY, **company, website="https://bridge-trading.example")],
        "Territory": _tree("territory", TERRITORIES),
        "Customer Group": _tree("customer_group", CUSTOMER_GROUPS),
        "Item Group": _tree("item_group", ITEM_GROUPS),
    }


def _currency(code: str, money: Money) -> Row:
    shown = {"symbol": money.symbol, "fraction": money.fraction, "number_format": money.number_format}
    return _named("currency_name", code, enabled=1, fraction_units=100, **shown)


class _Maker:
    def __init__(self, random: Random) -> None:
        self.random = random
        self.series: dict[str, int] = {}

    def rows(self) -> dict[str, list[Row]]:
        rows = _settings_rows()
        rows["Item"] = self.items()
        rows["Customer"] = self.customers()
        rows["Lead"] = self.leads()
        rows["Sales Order"], rows["Sales Order Item"] = self.orders(rows["Customer"], rows["Item"])
        rows["ToDo"] = self.todos(rows["Customer"])
        return rows

    # -- moments and people

    def stamp(self, created: datetime, territory: str = "") -> Row:
        owner = self.keeper(territory)
        return _stamp(created, self.later(created), owner, owner if self.random.random() < 0.7 else ALICE)

    def keeper(self, territory: str) -> str:
        """Bob looks after his territory, Alice after the rest."""
        return BOB if territory == BOBS_TERRITORY else ALICE

    def later(self, moment: datetime) -> datetime:
        """Some time between a moment and the end of the records, more often soon after it."""
        seconds = (LATEST - moment).total_seconds()
        return moment + timedelta(
            seconds=int(seconds * self.random.random() ** 3), microseconds=self.micros()
        )

    def micros(self) -> int:
        return self.random.randrange(1_000_000)

    def moment(self, day: datetime) -> datetime:
        clock = timedelta(seconds=self.random.randrange(8 * 3600, 18 * 3600), microseconds=self.micros())
        return day + clock

    def next_name(self, prefix: str) -> str:
        self.series[prefix] = self.series.get(prefix, 0) + 1
        return f"{prefix}{self.series[prefix]:05}"

    # -- items

    def items(self) -> list[Row]:
        return [
            self.item(product, number, finish)
            for product in PRODUCTS
            for number, finish in enumerate(FINISHES, 1)
        ]

    def item(self, product: Product, number: int, finish: str) -> Row:
        code = ODD_CODES.get(f"{product.code}-{finish}", f"{product.code}-{number:03}")
        stocked = int(product.group != "Services")
        # Even cents: half an hour has a price without fractions of a cent.
        cents = product.cents * self.random.randrange(80, 140) // 200 * 2
        return {
            "name": code,
            "item_code": code,
            "item_name": f"{product.name}, {finish}",
            "item_group": product.group,
            "stock_uom": product.unit,
            "standard_rate": cents / 100,
            "valuation_rate": cents * 6 // 10 / 100 if stocked else 0,
            "description": f"{product.name} in {finish}",
            "is_stock_item": stocked,
            "is_sales_item": 1,
            "is_purchase_item": stocked,
            "end_of_life": "2099-12-31",
            "disabled": int(self.random.random() < 0.05),
            **self.stamp(self.moment(FIRST_ITEM_DAY + timedelta(days=self.random.randrange(400)))),
        }

    # -- customers

    def customers(self) -> list[Row]:
        people = self.some(
            [f"{first} {last}" for culture in CULTURES for first in culture.first for last in culture.last],
            PEOPLE,
        )
        firms = [form.format(name) for c in CULTURES for name in c.companies for form in c.forms]
        firms = [*SPECIAL_NAMES, *self.some(firms, CUSTOMERS - PEOPLE - len(SPECIAL_NAMES))]
        parties = [(name, "Individual") for name in people] + [(name, "Company") for name in firms]
        self.random.shuffle(parties)
        return [self.customer(number, *party) for number, party in enumerate(parties)]

    def some(self, texts: list[str], count: int) -> list[str]:
        self.random.shuffle(texts)
        return texts[:count]

    def customer(self, number: int, name: str, kind: str) -> Row:
        territory = self.random.choice(SOLD_IN)
        row = {
            "name": name,
            "customer_name": name,
            "customer_type": kind,
            "customer_group": kind if kind == "Individual" else self.random.choice(COMPANY_GROUPS),
            "territory": territory,
            "account_manager": self.keeper(territory),
            "website": self.website(number),
            "tax_id": f"EU{self.random.randrange(10**9):09}" if kind == "Company" else None,
            "default_currency": self.random.choice((*MONIES, *[CURRENCY] * 15)),
            "email_id": f"office@customer{number:03}.example" if number % 3 else None,
            "language": "en",
            "disabled": int(self.random.random() < 0.08),
        }
        if number < 60:
            return {**row, **_stamp(IMPORTED, IMPORTED, ADMINISTRATOR, ADMINISTRATOR)}
        created = self.moment(FIRST_CUSTOMER_DAY + timedelta(days=self.random.randrange(600)))
        return {**row, **self.stamp(created, territory)}

    def website(self, number: int) -> str | None:
        pick = self.random.random()
        if pick < 0.3:
            return None
        return "" if pick < 0.45 else f"https://www.customer{number:03}.example"

    # -- leads

    def leads(self) -> list[Row]:
        days = sorted(self.random.randrange(320) for _ in range(LEADS))
        return [self.lead(FIRST_LEAD_DAY + timedelta(days=day)) for day in days]

    def lead(self, day: datetime) -> Row:
        culture = self.random.choice(CULTURES)
        first, last = self.random.choice(culture.first), self.random.choice(culture.last)
        named = self.random.choice(culture.forms).format(self.random.choice(culture.companies))
        company = self.random.choice((named, named, named, None, ""))
        territory = self.random.choice(SOLD_IN)
        name = self.next_name(f"CRM-LEAD-{day.year}-")
        number = self.series[f"CRM-LEAD-{day.year}-"]
        return {
            "name": name,
            "naming_series": "CRM-LEAD-.YYYY.-",
            "first_name": first,
            "last_name": last,
            "lead_name": f"{first} {last}",
            "title": company or f"{first} {last}",
            "company_name": company,
            "job_title": self.random.choice(JOB_TITLES),
            "status": self.random.choice(LEAD_STATUSES),
            "email_id": f"lead{number:03}@example.org" if number % 5 else None,
            "mobile_no": f"+49 30 5550{number:03}" if number % 3 else None,
            "no_of_employees": self.random.choice(EMPLOYEES),
            "annual_revenue": float(self.random.randrange(1, 400) * 25_000),
            "qualification_status": "Unqualified",
            "lead_owner": self.keeper(territory),
            "territory": territory,
            "company": COMPANY,
            "country": self.random.choice(tuple(COUNTRIES)),
            "language": "en",
            **self.stamp(self.moment(day), territory),
        }

    # -- orders

    def orders(self, customers: list[Row], items: list[Row]) -> tuple[list[Row], list[Row]]:
        orders: list[Row] = []
        lines: list[Row] = []
        cancelled = 0
        days = sorted((self.random.randrange(364) for _ in range(ORDERS)), reverse=True)
        while len(orders) < ORDERS:
            day = FIRST_DAY + timedelta(days=days.pop())
            customer = customers[int(BUYERS * self.random.random() ** 2)]
            recent = day > LATEST - timedelta(days=RECENT_DAYS)
            standing = self.random.choice(RECENT if recent else OLD)
            order = self.order(day, customer, standing, self.next_name(f"SAL-ORD-{day.year}-"))
            self.add(orders, lines, order, standing, items)
            cancelled += standing is CANCELLED
            if standing is CANCELLED and cancelled % AMENDED_EVERY == 0 and len(orders) < ORDERS:
                days.pop()
                self.amend(orders, lines, order, items)
        return orders, lines

    def order(self, day: datetime, customer: Row, standing: Standing, name: str) -> Row:
        stamp = self.stamp(self.moment(day), customer["territory"])
        if day < NIGHTLY_RUN - timedelta(days=1) and self.random.random() < 0.15:
            stamp |= {"modified": NIGHTLY_RUN.isoformat(" ", "microseconds"), "modified_by": ADMINISTRATOR}
        delivery = day + timedelta(days=self.random.randrange(3, 45))
        return {
            "name": name,
            "naming_series": "SAL-ORD-.YYYY.-",
            "title": customer["customer_name"],
            "customer": customer["name"],
            "customer_name": customer["customer_name"],
            "tax_id": customer["tax_id"],
            "customer_group": customer["customer_group"],
            "territory": customer["territory"],
            "order_type": "Sales",
            "company": COMPANY,
            "transaction_date": day.date().isoformat(),
            "delivery_date": delivery.date().isoformat(),
            "po_no": self.random.choice((None, "", f"PO-{self.random.randrange(9000) + 1000}")),
            "currency": customer["default_currency"],
            "conversion_rate": MONIES[customer["default_currency"]].rate,
            **stamp,
            **_standing_values(standing),
        }

    def amend(self, orders: list[Row], lines: list[Row], order: Row, items: list[Row]) -> None:
        """The successor of a cancelled order, made right after its cancellation."""
        successor = {**order, "name": f"{order['name']}-1", "amended_from": order["name"]}
        successor |= {"creation": order["modified"], **_standing_values(COMPLETED)}
        self.add(orders, lines, successor, COMPLETED, items)

    def add(
        self, orders: list[Row], lines: list[Row], order: Row, standing: Standing, items: list[Row]
    ) -> None:
        chosen = self.random.sample(items, 1 + int(6 * self.random.random() ** 2))
        cents = 0
        quantity = 0.0
        for idx, item in enumerate(chosen, 1):
            line, amount = self.line(idx, item, order, standing)
            lines.append(line)
            cents += amount
            quantity += line["qty"]
        orders.append({**order, "total_qty": quantity, **_totals(cents, order["conversion_rate"])})

    def line(self, idx: int, item: Row, order: Row, standing: Standing) -> tuple[Row, int]:
        """A row of an order and its amount in cents, counted in whole numbers."""
        whole = WHOLE_UNITS[item["stock_uom"]]
        halves = self.random.randrange(1, 25) * (2 if whole else 1)
        discount = self.random.choice((0, 0, 0, 5, 10))
        rate = round(item["standard_rate"] * 100) * (100 - discount) // 200 * 2
        amount = rate * halves // 2
        return {
            "name": hash_name("Sales Order Item", order["name"], str(idx)),
            "parent": order["name"],
            "parenttype": "Sales Order",
            "parentfield": "items",
            "idx": idx,
            "docstatus": standing.docstatus,
            "owner": order["owner"],
            "modified_by": order["modified_by"],
            "creation": order["creation"],
            "modified": order["modified"],
            "item_code": item["name"],
            "item_name": item["item_name"],
            "item_group": item["item_group"],
            "delivery_date": order["delivery_date"],
            "qty": halves / 2,
            "uom": item["stock_uom"],
            "stock_uom": item["stock_uom"],
            "conversion_factor": 1,
            "rate": rate / 100,
            "amount": amount / 100,
            "delivered_qty": halves * standing.delivered / 200,
            "billed_amt": amount / 100 if standing.billed else 0,
        }, amount

    # -- tasks

    def todos(self, customers: list[Row]) -> list[Row]:
        days = sorted(self.random.randrange(60) for _ in range(TODOS))
        return [self.todo(number, days[number], customers) for number in range(TODOS)]

    def todo(self, number: int, day: int, customers: list[Row]) -> Row:
        owner = BOB if number % 2 else ALICE
        customer = self.random.choice([row for row in customers if row["account_manager"] == owner])
        created = FIRST_TODO_DAY + timedelta(days=day)
        due = TODAY + timedelta(days=self.random.randrange(-25, 30))
        return {
            **_stamp(moment := self.moment(created), self.later(moment), owner, owner),
            "name": hash_name("ToDo", str(number)),
            "description": self.random.choice(TASKS).format(customer["customer_name"]),
            "status": self.random.choice(("Open", "Open", "Open", "Closed", "Cancelled")),
            "priority": self.random.choice(PRIORITIES),
            "date": due.isoformat() if number % 6 else None,
            "allocated_to": owner,
            "assigned_by": owner,
            "assigned_by_full_name": "Bob Brown" if owner == BOB else "Alice Adams",
            "reference_type": "Customer",
            "reference_name": customer["name"],
        }


def _standing_values(standing: Standing) -> Row:
    return {
        "docstatus": standing.docstatus,
        "status": standing.status,
        "per_delivered": standing.delivered,
        "per_billed": standing.billed,
        "delivery_status": standing.delivery,
        "billing_status": standing.billing,
    }


def _totals(cents: int, conversion: float) -> Row:
    total, base = cents / 100, round(cents * conversion) / 100
    return {
        "total": total,
        "net_total": total,
        "grand_total": total,
        "rounded_total": float(round(total)),
        "base_total": base,
        "base_grand_total": base,
    }
