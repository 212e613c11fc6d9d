"""Raw material of the generated leads: names, places, companies, domains. Nothing here is random."""

# ruff: noqa: SIM905  (tables read better in long lines)

from __future__ import annotations

# (as people write it, as it stands in an address)
FIRST = [
    (name, name.lower())
    for name in (
        "Ana Maria Carlos Pedro Lucas Mateus Bruno Rafael Juliana Fernanda Camila Larissa Beatriz Gabriel Thiago Rodrigo "
        "Patricia Marcos Paula Renata Emma Olivia Noah Liam James Sophie Oliver Harry Emily Jack Charlotte George Mia "
        "Hannah Lukas Felix Anna Lena Jonas Paul Marie Louis Camille Hugo Chloe Manon Jules Marco Giulia Luca Chiara "
        "Francesca Matteo Pablo Lucia Javier Carmen Diego Sofia Miguel Elena Alejandro Isabel Piotr Katarzyna Anders "
        "Ingrid Lars Freya Erik Priya Arjun Aisha Omar Fatima Yusuf Kenji Yuki Hiroshi Mei Thomas Sarah David Rachel"
    ).split()
] + [
    ("João", "joao"), ("José", "jose"), ("Zoë", "zoe"), ("André", "andre"), ("Inês", "ines"), ("Conceição", "conceicao"),
    ("Łukasz", "lukasz"), ("Jürgen", "juergen"), ("Søren", "soren"), ("Björn", "bjorn"), ("François", "francois"),
    ("Núria", "nuria"), ("李", "li"), ("美咲", "misaki"), ("Дмитрий", "dmitri"), ("Ελένη", "eleni"),
]  # fmt: skip

LAST = [
    (name, name.lower())
    for name in (
        "Silva Santos Oliveira Souza Lima Pereira Ferreira Alves Ribeiro Carvalho Gomes Martins Rocha Barbosa Almeida "
        "Costa Fernandes Nunes Moreira Cardoso Smith Jones Taylor Brown Williams Wilson Johnson Davies Robinson Wright "
        "Thompson Evans Walker White Roberts Green Hall Wood Clarke Schmidt Schneider Fischer Weber Meyer Wagner Becker "
        "Hoffmann Koch Richter Klein Wolf Martin Bernard Dubois Petit Durand Leroy Moreau Simon Laurent Rossi Russo "
        "Ferrari Bianchi Romano Colombo Ricci Marino Greco Bruno Conti Garcia Rodriguez Lopez Martinez Sanchez Gonzalez "
        "Ruiz Torres Navarro Vazquez Molina Kowalski Nowak Hansen Johansson Nielsen Larsen Patel Sharma Khan Singh Tanaka "
        "Sato Suzuki Kim Park Nguyen Cohen Levy Murphy Kelly Byrne Walsh Ryan Campbell Stewart Morrison Fraser Grant"
    ).split()
] + [
    ("Gonçalves", "goncalves"), ("Araújo", "araujo"), ("Magalhães", "magalhaes"), ("Müller", "mueller"),
    ("Öztürk", "ozturk"), ("Nuñez", "nunez"), ("García-Lorca", "garcialorca"), ("O'Brien", "obrien"),
    ("D'Angelo", "dangelo"), ("Wiśniewski", "wisniewski"), ("王", "wang"), ("Иванов", "ivanov"),
]  # fmt: skip

PLACES = [  # city, country, start of a phone number
    ("São Paulo", "BR", "+55 11 9"), ("Rio de Janeiro", "BR", "+55 21 9"), ("Curitiba", "BR", "+55 41 9"),
    ("Belo Horizonte", "BR", "+55 31 9"), ("Recife", "BR", "+55 81 9"), ("Lisboa", "PT", "+351 21 "),
    ("Porto", "PT", "+351 22 "), ("Madrid", "ES", "+34 91"), ("Barcelona", "ES", "+34 93"), ("Sevilla", "ES", "+34 95"),
    ("Ciudad de México", "MX", "+52 55 "), ("Bogotá", "CO", "+57 30"), ("Buenos Aires", "AR", "+54 11 "),
    ("London", "GB", "+44 20 "), ("Leeds", "GB", "+44 113 "), ("Dublin", "IE", "+353 1 "), ("New York", "US", "+1 212 "),
    ("Chicago", "US", "+1 312 "), ("Austin", "US", "+1 512 "), ("Toronto", "CA", "+1 416 "), ("Berlin", "DE", "+49 30 "),
    ("München", "DE", "+49 89 "), ("Köln", "DE", "+49 221 "), ("Wien", "AT", "+43 1 "), ("Zürich", "CH", "+41 44 "),
    ("Paris", "FR", "+33 1 "), ("Lyon", "FR", "+33 4 "), ("Milano", "IT", "+39 02 "), ("Roma", "IT", "+39 06 "),
    ("Warszawa", "PL", "+48 22 "), ("Stockholm", "SE", "+46 8 "), ("København", "DK", "+45 33 "),
    ("Mumbai", "IN", "+91 22 "), ("東京", "JP", "+81 3 "), ("Sydney", "AU", "+61 2 "), ("Cape Town", "ZA", "+27 21 "),
]  # fmt: skip

COMPANY_HEADS = (
    "Acme Nova Atlas Delta Prime Global Vertex Lumen Orion Solar Verde Azul Norte Terra Aqua Pixel Cloud Data Smart Rapid "
    "Bright Silver Golden Urban Coastal Alpine Metro Union Royal Pioneer Summit Harbor Maple Cedar Falcon Lotus Zenith"
).split()
COMPANY_TAILS = (
    "Foods Media Labs Systems Logistics Retail Studio Partners Capital Health Energy Motors Travel Design Consulting "
    "Education Textiles Software Marketing Imports Construction Digital Security Analytics Events"
).split()
COMPANY_FORMS = ["", " Ltda", " S.A.", " GmbH", " Inc.", " SL", " SAS", " Ltd", " Group", " & Co"]
COMPANY_ODD = [  # each needs quotes in CSV
    "Silva, Lda", "Santos, Lima & Filhos", "Müller, Weber KG", "Smith, Jones and Walker LLP", "Café, Pão e Companhia",
    'Pizzaria "O Forno"', 'Oficina "Dois Irmãos", ME', '"The Agency"', 'Studio "7"', "株式会社, 東京",
]  # fmt: skip
COMPANY_LINES = [  # ... and these hold a line end
    "Acme Foods\nPurchasing", "Nova Labs\nBuilding 4, 2nd floor", 'Casa "Azul"\nLoja 12', "Atlas Logistics\nWarehouse B",
]  # fmt: skip

FREE_MAIL = [  # a few providers serve most people; the numbers are shares
    ("gmail.com", 34), ("hotmail.com", 10), ("outlook.com", 8), ("yahoo.com", 7), ("icloud.com", 4), ("uol.com.br", 3),
    ("bol.com.br", 2), ("terra.com.br", 1), ("gmx.de", 2), ("web.de", 2), ("orange.fr", 1), ("free.fr", 1),
    ("libero.it", 1), ("sapo.pt", 2), ("yahoo.co.uk", 2),
]  # fmt: skip
TOP_LEVEL = ["com", "com.br", "de", "pt", "es", "fr", "it", "co.uk", "net", "org", "io", "eu"]

IDN_DOMAINS = [
    "münchen-media.de", "bücherstube-köln.de", "größe-textil.de", "cafépão.com.br", "ação-digital.com.br", "lusofonía.pt",
    "niño-studio.es", "españa-viajes.es", "français-media.fr", "hôtel-léman.fr", "città-eventi.it", "żółw-books.pl",
    "smørrebrød.dk", "malmö-data.se", "ελλάδα-travel.eu", "почта-россии.рф", "例子科技.com", "東京商事.jp", "मेल-सेवा.com",
    "öl-handel.com",
]  # fmt: skip
UTF8_LOCALS = [
    "joão.reis",
    "zoë.klein",
    "andré.lopes",
    "søren.dahl",
    "núria.vidal",
    "jürgen.groß",
    "李.王",
    "дмитрий.орлов",
]

TAGS = [
    "",
    "",
    "",
    "vip",
    "newsletter",
    "expo-2026",
    "webinar;newsletter",
    "vip;newsletter",
    "trial",
    "partner;vip",
    "cold",
]
PLANS = ["free", "free", "free", "starter", "pro", "pro", "business"]
SOURCES = ["website", "referral", "google-ads", "facebook", "event", "import", "partner"]
