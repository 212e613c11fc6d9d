"""Headers: names in three languages, the caller's word, and values that contradict a name."""

from collections import Counter

import pytest

from mailgenius.errors import ConfigError, SourceError
from mailgenius.importer import synonyms
from mailgenius.importer.header import ATTRIBUTE, HeaderPlan, looks_like_header, match
from mailgenius.importer.synonyms import FIELDS, normalized

EXPORTS = {
    "mailchimp": (
        "Email Address,First Name,Last Name,Address,Phone Number,Birthday,MEMBER_RATING,OPTIN_TIME,OPTIN_IP,"
        "CONFIRM_TIME,CONFIRM_IP,LATITUDE,TIMEZONE,CC,REGION,LAST_CHANGED,LEID,EUID,NOTES,TAGS",
        "email first_name last_name - phone - score created_at - - - - - - - - - - - tags",
    ),
    "hubspot": (
        "Record ID,First Name,Last Name,Email,Phone Number,Contact owner,Lead Status,Create Date,"
        "Associated Company,City",
        "- first_name last_name email phone - status created_at company city",
    ),
    "rd station": (
        "Email,Nome,Telefone,Celular,Empresa,Cargo,Cidade,Estado,País,Tags,Data da primeira conversão,Lead Scoring",
        "email first_name phone - company - city - country tags created_at score",
    ),
    "brevo": (
        "CONTACT ID,EMAIL,FIRSTNAME,LASTNAME,SMS,LANDLINE_NUMBER,WHATSAPP,INTERESTS,ADDED_TIME,MODIFIED_TIME",
        "- email first_name last_name phone - - - created_at -",
    ),
    "salesforce": (
        "Lead ID,First Name,Last Name,Company / Account,Email,Lead Source,Phone,City,Country,Create Date",
        "- first_name last_name company email - phone city country created_at",
    ),
    "google": (
        "First Name,Middle Name,Last Name,Organization Name,E-mail 1 - Label,E-mail 1 - Value,Phone 1 - Value,Labels",
        "first_name - last_name company - email phone tags",
    ),
    "shopify": (
        "Customer ID,First Name,Last Name,Email,Accepts Email Marketing,Default Address Company,Default Address City,"
        "Default Address Country Code,Phone,Tags",
        "- first_name last_name email - company city country phone tags",
    ),
    "portuguese": (
        "Endereço de E-mail;Primeiro nome;Sobrenome;Telemóvel;Razão Social;Município;País;Etiquetas;Situação;Pontuação;"
        "Data de cadastro;Observações",
        "email first_name last_name phone company city country tags status score created_at -",
    ),
    "spanish": (
        "Correo electrónico;Nombre;Apellidos;Teléfono móvil;Empresa;Ciudad;País;Etiquetas;Estatus;Puntuación;"
        "Fecha de alta;Estado",
        "email first_name last_name phone company city country tags status score created_at -",
    ),
    "upper and odd": (
        " E-MAIL ,FIRST_NAME,last-name,PHONE NO.,Company Name,City/Town,Country/Region",
        "email first_name last_name phone company city country",
    ),
}


def fields(plan: HeaderPlan) -> list[str]:
    return [FIELDS[t] if t >= 0 else "-" if t == ATTRIBUTE else "ignore" for t in plan.targets]


def header(text: str) -> list[str]:
    return text.split(";" if ";" in text else ",")


@pytest.mark.parametrize("name", EXPORTS)
def test_headers_of_well_known_exports(name: str) -> None:
    text, expected = EXPORTS[name]
    plan = match(header(text))
    assert fields(plan) == expected.split()
    assert len(plan.header) == len(set(plan.header)) == len(plan.names) == len(plan.mapping)
    assert plan.header == [" ".join(column.split()) for column in header(text)]


def test_no_name_stands_for_two_fields() -> None:
    spoken = [
        (normalized(name), field)
        for field, text in synonyms._SPOKEN.items()
        for name in text.split(";")
        if name.strip()
    ]
    clashes = {name: {f for n, f in spoken if n == name} for name, _ in spoken}
    assert not {name: found for name, found in clashes.items() if len(found) > 1}
    assert not [name for name, count in Counter(spoken).items() if count > 1 and len(name[0]) > 40]
    assert not synonyms.FULL_NAMES & {name for name, _ in spoken}
    assert not synonyms.GIVEN_OR_FULL & {name for name, _ in spoken}
    assert all(name for name, _ in spoken)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name,email", "first_name email"),
        ("name,surname,email", "first_name last_name email"),
        ("email,nome,sobrenome", "email first_name last_name"),
        ("name,first name,email", "- first_name email"),
        ("first name,name,email", "first_name - email"),
        ("full name,email", "first_name email"),
        ("full name,last name,email", "- last_name email"),
        ("nome completo,primeiro nome,email", "- first_name email"),
        ("full name,name,email", "first_name - email"),
    ],
)
def test_full_names(text: str, expected: str) -> None:
    assert fields(match(header(text))) == expected.split()


def test_unknown_columns_become_attributes() -> None:
    plan = match(["E-mail", "Favourite colour", "Plano"])
    assert plan.mapping == {
        "E-mail": "email",
        "Favourite colour": "attribute:Favourite colour",
        "Plano": "attribute:Plano",
    }
    assert plan.names == ["E-mail", "Favourite colour", "Plano"]
    assert not plan.warnings


def test_the_callers_word_wins() -> None:
    columns = {
        "Contact": "email",
        "E-mail": "attribute:other",
        "notes": "ignore",
        "Plan": "attributes",
        "PAIS": "city",
        "x": "attribute",
    }
    plan = match(["E-mail", "Contact", "Notes", "Plan", "País", "x", "City"], columns=columns)
    assert fields(plan) == ["-", "email", "ignore", "-", "city", "-", "-"]
    assert plan.names == ["other", "Contact", "Notes", "Plan", "País", "x", "City"]
    assert plan.mapping["E-mail"] == "attribute:other"
    assert plan.mapping["Notes"] == "ignore"
    assert plan.warnings == ["'City' also looks like city, which 'País' is; kept as an attribute"]


@pytest.mark.parametrize(
    ("columns", "error", "text"),
    [
        (
            {"Mail": "email"},
            SourceError,
            r"no column 'Mail'; the columns are 'E-mail', 'Nome', 'nome 2'; did you mean 'E-mail'",
        ),
        ({"zzz": "email"}, SourceError, r"no column 'zzz'; the columns are 'E-mail', 'Nome', 'nome 2'$"),
        ({"": "email"}, SourceError, "no column ''"),
        (
            {"E-mail": "emial"},
            ConfigError,
            r"cannot be mapped to 'emial' \(did you mean 'email'\?\); it can be email, first",
        ),
        ({"E-mail": 7}, ConfigError, "cannot be mapped to 7"),
        ({"E-mail": "email", "Nome": "email"}, ConfigError, "'E-mail' and 'Nome' are both mapped to 'email'"),
        ({"E-mail": "attribute:a", "Nome": "attribute:a"}, ConfigError, "both mapped to 'attribute:a'"),
        ({"E-mail": "email", "email": "city"}, ConfigError, "both mean the column 'E-mail'"),
        ({"Nome": "attribute:"}, ConfigError, "1 to 200 visible characters"),
        ({"Nome": "attribute:a\0b"}, ConfigError, "1 to 200 visible characters"),
        ({"Nome": "attribute:" + "x" * 201}, ConfigError, "1 to 200 visible characters"),
        ({"E-mail": "ignore"}, SourceError, "there is no e-mail column"),
    ],
)
def test_what_the_caller_says_wrongly(columns: dict[str, str], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        match(["E-mail", "Nome", "nome 2"], columns=columns)


def test_a_name_that_may_mean_two_columns() -> None:
    with pytest.raises(SourceError, match="may mean 'NOME', 'Nome'"):
        match(["email", "NOME", "Nome"], columns={"nome": "first_name"})
    assert fields(match(["email", "NOME", "Nome"], columns={"Nome": "first_name"})) == ["email", "-", "first_name"]


def test_names_are_made_clean_and_unique() -> None:
    plan = match(["email", "x", "x", "", "x_2", "x", " ", "a\tb\nc", "\u202egnp.exe", "y" * 500, "y" * 500, "column_4"])
    assert plan.header == [
        "email", "x", "x_3", "column_4", "x_2", "x_4", "column_7", "a b c", "gnp.exe", "y" * 200, "y" * 188 + "_2",
        "column_4_2",
    ]  # fmt: skip
    assert len(plan.warnings) == 4
    assert "column 3 is called 'x' like one before it; it is taken as 'x_3'" in plan.warnings
    assert len(match(["email", *["same"] * 4000]).mapping) == 4001


def test_a_repeated_field_keeps_the_first() -> None:
    plan = match(["Email", "email", "E-mail", "Work Email"])
    assert fields(plan) == ["email", "-", "-", "-"]
    assert plan.header == ["Email", "email", "E-mail", "Work Email"]
    assert len(plan.warnings) == 3
    plan = match(["email", "email"])
    assert plan.mapping == {"email": "email", "email_2": "attribute:email_2"}
    assert len(plan.warnings) == 2


def test_the_callers_attribute_name_is_kept() -> None:
    plan = match(["email", "notes", "Other"], columns={"Other": "attribute:notes"})
    assert plan.names == ["email", "notes_2", "notes"]
    assert plan.mapping == {"email": "email", "notes": "attribute:notes_2", "Other": "attribute:notes"}


def test_values_have_a_say() -> None:
    names = ["email", "Status", "Score", "Created"]
    good = [["a@b.co", "Active", "12", "2024-01-31"], ["a@b.co", "", " -3", "31/1/2024 10:00"], ["a@b.co"]]
    assert fields(match(names, rows=good)) == ["email", "status", "score", "created_at"]
    bad = [
        ["a@b.co", "Customer", "A+", "last Tuesday"],
        ["a@b.co", "active", "7", "2024-01-01"],
        ["", "Lead", "B", "1/2/24"],
    ]
    plan = match(names, rows=bad)
    assert fields(plan) == ["email", "-", "-", "-"]
    assert plan.warnings == [
        "'Status' looks like status, but values such as 'Customer' are not a lead status; kept as an attribute",
        "'Score' looks like score, but values such as 'A+' are not whole numbers; kept as an attribute",
        "'Created' looks like created_at, but values such as 'last Tuesday' are not dates that can be read; "
        "kept as an attribute",
    ]
    insisted = match(names, rows=bad, columns={"Status": "status"})
    assert fields(insisted) == ["email", "status", "-", "-"]


def test_without_an_email_column_the_values_decide() -> None:
    rows = [["1", "a@b.co", "x"], ["2", "c@d.com.br", "y"], ["3", "broken", "z@z.zz"]]
    plan = match(["id", "login", "remark"], rows=rows)
    assert fields(plan) == ["-", "email", "-"]
    assert plan.warnings == ["no column is called e-mail; 'login' is taken for it, since it holds addresses"]
    with pytest.raises(
        SourceError, match=r"several columns hold e-mail addresses: 'a', 'b'; say which, such as columns="
    ):
        match(["a", "b"], rows=[["a@b.co", "c@d.co"]])
    with pytest.raises(
        SourceError, match=r"no e-mail column; the columns are 'a', 'b'. Say which it is, such as columns=.'a'"
    ):
        match(["a", "b"], rows=[["1", "2"]])
    with pytest.raises(SourceError, match=r"\(4,066 more\)"):
        match([f"c{i}" for i in range(4096)])
    with pytest.raises(SourceError, match="the first record, which should name the columns, cannot be read"):
        match([])


def test_files_without_a_header() -> None:
    assert looks_like_header(["email", "name"])
    assert looks_like_header(["1", "2"])
    assert looks_like_header([])
    assert not looks_like_header(["Ana", " a@b.co "])
    assert not looks_like_header(["'a@b.co'"])
    rows = [["a@b.co", "Ana"], ["c@d.co", "Bob"]]
    plan = match(["column_1", "column_2"], has_header=False, rows=rows)
    assert fields(plan) == ["email", "-"]
    assert plan.warnings == ["there is no header; 'column_1' is taken for it, since it holds addresses"]
    plan = match(["column_1", "column_2"], has_header=False, rows=rows, columns={"column_2": "first_name"})
    assert fields(plan) == ["email", "first_name"]
    # Made-up names are not compared: a first row that is called "name" is not a name.
    assert fields(match(["email", "name"], has_header=False, rows=[["x", "a@b.co"]])) == ["-", "email"]


def test_our_own_rejects_file() -> None:
    plan = match(["mg_line", "mg_column", "mg_reason", "email", "name"])
    assert fields(plan) == ["ignore", "ignore", "ignore", "email", "first_name"]
    plan = match(["mg_line", "mg_column", "mg_reason", "email"], columns={"mg_line": "attribute:line"})
    assert plan.mapping["mg_line"] == "attribute:line"
