"""What people call the columns of a list of leads, in English, Portuguese and Spanish.

Collected from the export files of Mailchimp, HubSpot, RD Station, Brevo, ActiveCampaign, Klaviyo, Salesforce, Shopify,
Google and Outlook contacts, and from plain spreadsheets. Compared after ``normalized``: without case, accents, spaces
and punctuation, so "E-mail Address", "EMAIL_ADDRESS" and "email address" are one. A name stands for one field only.

Left out on purpose: "estado" (in Portuguese and Spanish first of all the state one lives in), "nota", "list", "id".
"""

import re
import unicodedata
from typing import Final

__all__ = ["FIELDS", "FULL_NAMES", "GIVEN_OR_FULL", "field_of", "normalized"]

#: Names of the lead fields; the position is the number that the kernels know it by (mg.h, mg_lead_field).
FIELDS: Final = (
    "email",
    "first_name",
    "last_name",
    "phone",
    "company",
    "city",
    "country",
    "tags",
    "attributes",
    "status",
    "score",
    "created_at",
)

_SPOKEN: Final = {
    "email": """
        email; email address; emailaddress; address email; mail; mail address; emails; email 1; email1; email id;
        e-mail 1 - value; primary email; main email; default email; work email; business email; company email;
        corporate email; personal email; private email; home email; contact email; customer email; client email;
        lead email; person email; subscriber email; user email; member email; recipient; recipient email;
        email do contato; email do cliente; email do lead; email principal; email comercial; email pessoal;
        email corporativo; email profissional; endereço de email; endereço eletrônico; endereço de correio eletrónico;
        correio eletrônico; seu email; seu melhor email; qual seu email;
        correo; correo electrónico; correos; correo e; dirección de correo; dirección de correo electrónico;
        dirección de email; direccion email; dirección electrónica; correo principal; correo personal;
        correo corporativo; correo de contacto; email de contacto; email del cliente; email del contacto; tu correo;
        tu email
    """,
    "first_name": """
        first name; firstname; first; fname; f name; given name; givenname; forename; christian name;
        contact first name; lead first name; customer first name; billing first name; your first name;
        primeiro nome; prenome; nome próprio; nome de batismo; nome (primeiro);
        nombre de pila; primer nombre; nombres; nombre(s); nombre propio; nombre del lead
    """,
    "last_name": """
        last name; lastname; last; lname; l name; surname; family name; familyname; contact last name;
        lead last name; customer last name; billing last name; your last name;
        sobrenome; sobre nome; apelido; último nome; nome de família;
        apellido; apellidos; apellido(s); apellido paterno; primer apellido
    """,
    "phone": """
        phone; phone number; phonenumber; phone no; phone 1; phone 1 - value; telephone; telephone number; tel; tel no;
        mobile; mobile phone; mobile number; mobile phone number; mobile no; cell; cell phone; cellphone; cell number;
        cellular; contact number; contact phone; work phone; business phone; home phone; personal phone; primary phone;
        default address phone; billing phone; sms; sms number; whatsapp; whatsapp number; whatsapp phone number;
        landline; landline number;
        telefone; telefones; telefone 1; telefone celular; telefone comercial; telefone residencial; telefone fixo;
        telefone para contato; telefone de contato; telefone com ddd; número de telefone; número do telefone; fone;
        celular; celular com ddd; número de celular; número do celular; telemóvel; contacto telefónico; zap;
        teléfono; teléfonos; teléfono 1; teléfono móvil; teléfono celular; teléfono fijo; teléfono de contacto;
        número de teléfono; número de móvil; móvil; número de whatsapp
    """,
    "company": """
        company; company name; companyname; company / account; account; account name; organization; organisation;
        organization name; organisation name; organization 1 - name; business name; employer; firm; associated company;
        primary associated company; default address company; billing company; workplace;
        empresa; nome da empresa; razão social; nome fantasia; companhia; organização; empresa do lead; nome empresa;
        empresa onde trabalha;
        nombre de la empresa; nombre de empresa; razón social; compañía; organización; nombre comercial; negocio
    """,
    "city": """
        city; city name; town; city/town; town/city; locality; city or town; home city; business city; work city;
        mailing city; billing city; shipping city; default address city; address city; address - city; ip city;
        cidade; cidade do lead; cidade do contato; município; localidade; sua cidade; cidade onde mora;
        ciudad; ciudad del contacto; municipio; localidad; población; tu ciudad
    """,
    "country": """
        country; country name; country/region; country or region; country code; countrycode; home country;
        business country; business country/region; home country/region; mailing country; billing country;
        shipping country; default address country; default address country code; address country; address - country;
        ip country; nation;
        país; nome do país; país/região; país de origem; código do país; seu país;
        nombre del país; país/región; país o región; código de país; tu país
    """,
    "tags": """
        tags; tag; labels; label; contact tags; lead tags; customer tags; subscriber tags; tag names;
        etiquetas; etiqueta; marcadores; marcador; tags do lead; tags do contato; tags del contacto;
        etiquetas del contacto
    """,
    "attributes": "",
    "status": """
        status; lead status; contact status; subscriber status; subscription status; email status;
        email subscription status; email marketing status; marketing status; member status; state of subscription;
        situação; status do lead; status do contato; status da inscrição; situação do contato;
        situación; estado del contacto; estado del lead; estado de suscripción; estado de la suscripción; estatus
    """,
    "score": """
        score; lead score; leadscore; lead scoring; contact score; hubspot score; engagement score; total score; points;
        member rating; lead points; contact rating;
        pontuação; pontuação total; pontuação do lead; pontos; escore;
        puntuación; puntuación del lead; puntuación total; puntaje; puntos
    """,
    "created_at": """
        created at; created; created on; created date; create date; creation date; date created; creation time;
        created time; time created; date of creation; date added; added; added at; added on; added time; signup date;
        sign up date; signup; signed up; signed up at; signup time; sign up time; subscribed; subscribed at;
        subscribed on; subscription date; date subscribed; subscribe date; opt-in time; opt-in date; opt-in at;
        confirm time; registered; registered at; registered on; registration date; registration time; date registered;
        joined; joined at; joined on; join date; date joined; profile created on; first conversion date; member since;
        customer since;
        data de cadastro; data do cadastro; data cadastro; cadastrado em; cadastro; data de criação; data da criação;
        criado em; criado; criação; data de inscrição; data da inscrição; inscrito em; data de registro;
        data do registro; data de registo; registrado em;
        data da primeira conversão; data de adesão; data de entrada; data de inclusão;
        fecha de alta; fecha alta; alta; fecha de creación; fecha creación; fecha de registro; fecha registro;
        fecha de suscripción; fecha de inscripción; creado; creado el; creado en; registrado el; fecha de ingreso
    """,
}

#: First name where a last name stands beside it, and the best there is where no first name does.
GIVEN_OR_FULL: Final = frozenset({"name", "nome", "nombre"})

_FULL: Final = """
    full name; fullname; complete name; contact; contact name; customer name; client name; lead name; person name;
    subscriber name; recipient name; display name; member name; user name; your name; name (full); real name;
    nome completo; nome e sobrenome; nome do contato; nome do cliente; nome do lead; nome do inscrito; seu nome;
    nombre completo; nombre y apellido; nombre y apellidos; nombres y apellidos; nombre del contacto;
    nombre del cliente; nombre de contacto; nombre de cliente; tu nombre
"""

_SEPARATORS = re.compile(r"[\W_]+")


def normalized(name: str) -> str:
    """Without case, accents, spaces and punctuation."""
    text = unicodedata.normalize("NFKD", name.casefold())
    return _SEPARATORS.sub("", "".join(c for c in text if not unicodedata.combining(c)))


def _names(text: str) -> list[str]:
    return [normalized(name) for name in text.split(";") if name.strip()]


#: First name only where the file has neither a first nor a last name; else an attribute.
FULL_NAMES: Final = frozenset(_names(_FULL))
_FIELD_OF: Final = {name: field for field, text in _SPOKEN.items() for name in (normalized(field), *_names(text))}
del _FIELD_OF["attributes"]


def field_of(name: str) -> str | None:
    """The lead field that a column of this name holds, or None where the name tells nothing."""
    return _FIELD_OF.get(normalized(name))
