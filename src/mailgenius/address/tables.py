"""Tables kept by hand: public mailbox providers, names of functions, typing errors.

Source: the sign-up pages of the providers (domains on which anybody can get a personal mailbox), RFC 2142 for the role
names of Internet services, and the names that companies use for departments in English, Portuguese and Spanish.
``python -m tools.address_lists`` checks and sorts this file and says when it was last gone through. Disposable domains
are not here: they change daily and come from the ``disposable-email-domains`` package.
"""

DATE = "2026-11-22"

# Big providers, and the suffixes under which they hand out mailboxes.
BRANDS: dict[str, tuple[str, ...]] = {
    "bellsouth": ("net",),
    "comcast": ("net",),
    "earthlink": ("net",),
    "fastmail": ("com", "fm"),
    "globomail": ("com",),
    "gmail": ("com",),
    "googlemail": ("com",),
    "hotmail": (
        "com", "be", "ca", "ch", "cl", "co.id", "co.il", "co.in", "co.jp", "co.kr", "co.nz", "co.th", "co.uk", "co.za",
        "com.ar", "com.au", "com.br", "com.mx", "com.tr", "cz", "de", "dk", "es", "fi", "fr", "gr", "hu", "it", "my",
        "nl", "no", "ph", "rs", "se", "sg",
    ),
    "icloud": ("com",),
    "live": (
        "com", "at", "be", "ca", "cl", "cn", "co.kr", "co.uk", "co.za", "com.ar", "com.au", "com.mx", "com.my",
        "com.pt", "com.sg", "de", "dk", "fi", "fr", "hk", "ie", "in", "it", "jp", "nl", "no", "ph", "ru", "se",
    ),
    "optonline": ("net",),
    "outlook": (
        "com", "at", "be", "cl", "co.id", "co.il", "co.nz", "co.th", "com.ar", "com.au", "com.br", "com.gr", "com.tr",
        "com.vn", "cz", "de", "dk", "es", "fr", "hu", "ie", "in", "it", "jp", "kr", "lv", "my", "ph", "pt", "sa", "sg",
        "sk",
    ),
    "protonmail": ("com", "ch"),
    "rediffmail": ("com",),
    "rocketmail": ("com",),
    "sbcglobal": ("net",),
    "verizon": ("net",),
    "wanadoo": ("es", "fr"),
    "yahoo": (
        "com", "at", "be", "bg", "ca", "cl", "co.id", "co.il", "co.in", "co.jp", "co.kr", "co.nz", "co.th", "co.uk",
        "co.za", "com.ar", "com.au", "com.br", "com.cn", "com.co", "com.hk", "com.mx", "com.my", "com.pe", "com.ph",
        "com.sg", "com.tr", "com.tw", "com.ve", "com.vn", "cz", "de", "dk", "ee", "es", "fi", "fr", "gr", "hr", "hu",
        "ie", "in", "it", "lt", "lv", "nl", "no", "pl", "pt", "ro", "se", "sk",
    ),
    "yandex": ("com", "by", "com.tr", "kz", "ru", "ua"),
    "ymail": ("com",),
}  # fmt: skip

# Brands that are ordinary words, or too near to one: known, but what looks like them is not taken for a typing error.
PLAIN_WORDS = frozenset({"live", "ymail"})

# What is typed for com, net, org, edu and is no top label that exists.
TOP_TYPOS: dict[str, str] = {
    wrong: right
    for right, slips in {
        "com": """c0m ccom cim clm cmo cmoo coim colm com1 comb comd come comm comn como coms con cond conm coom copm
            cpm cxom ocm vcom vom xcom xom""",
        "edu": "edi eud",
        "net": "ent ner nert nett nte",
        "org": "0rg irg ogr orgg prg rog",
    }.items()
    for wrong in slips.split()
}

# The same for suffixes of two labels.
SUFFIX_TYPOS: dict[str, str] = {
    **TOP_TYPOS,
    **{
        f"{wrong}.{country}": f"com.{country}"
        for country in ("ar", "au", "br", "co", "mx", "pe", "tr", "ve")
        for wrong, right in TOP_TYPOS.items()
        if right == "com"
    },
    "co.ik": "co.uk",
    "co.ku": "co.uk",
    "co.ul": "co.uk",
    "com.vr": "com.br",
    "combr": "com.br",
    "couk": "co.uk",
}

# Public mailbox providers beside those of BRANDS.
_FREE = """
    126.com 139.com 163.com 188.com 189.cn abv.bg adinet.com.uy aeiou.pt aim.com alice-dsl.net alice.it aliceadsl.fr
    aliyun.com aol.co.uk aol.com aol.de aol.fr aol.it arcor.de arnet.com.ar att.net azet.sk bbox.fr bezeqint.net
    biglobe.ne.jp bigmir.net bigpond.com bigpond.net.au bk.ru bluewin.ch blueyonder.co.uk bol.com.br brturbo.com.br
    btinternet.com btopenworld.com cantv.net centrum.cz centrum.sk centurylink.net centurytel.net charter.net chello.at
    chello.nl citromail.hu click21.com.br clix.pt club-internet.fr cock.li cox.net daum.net disroot.org docomo.ne.jp
    dreamwiz.com duck.com eircom.net email.com email.cz embarqmail.com eresmas.com etb.net.co europe.com excite.com
    ezweb.ne.jp fibertel.com.ar foxmail.com free.fr freemail.gr freemail.hu freenet.de freeserve.co.uk frontier.com
    frontiernet.net ftml.net globo.com gmx.at gmx.ch gmx.co.uk gmx.com gmx.de gmx.es gmx.eu gmx.fr gmx.it gmx.net gmx.us
    hanmail.com hanmail.net hey.com hinet.net hush.com hushmail.com i.softbank.jp i.ua iafrica.com ibest.com.br
    ig.com.br iinet.net.au in.gr inbox.com inbox.lv inbox.ru indiatimes.com infinito.it infovia.com.ar inode.at
    interia.eu interia.pl internet.ru internode.on.net inwind.it iol.it iol.pt itelefonica.com.br juno.com k.ro
    kabelmail.de keemail.me kolumbus.fi korea.com kpnmail.nl laposte.net latinmail.com lavabit.com libero.it list.ru
    lycos.com lycos.es mac.com mail.bg mail.com mail.de mail.ee mail.pt mail.ru mailbox.org mailfence.com mailo.com
    me.com meta.ua mindspring.com montevideo.com.uy msn.com mweb.co.za mynet.com nate.com navegalia.com naver.com
    neostrada.pl netcabo.pt netcourrier.com netmadeira.com netscape.net netvigator.com netvision.net.il neuf.fr
    nifty.com noos.fr ntlworld.com o2.pl o2online.de ocn.ne.jp office.com oi.com.br onda.com.br onet.eu onet.pl
    online.de online.no op.pl openmailbox.org optimum.net optusnet.com.au orange.es orange.fr orange.net otenet.gr
    ozemail.com.au pacbell.net paran.com pchome.com.tw peoplepc.com planet.nl pm.me pobox.com pobox.sk poczta.fm
    poczta.onet.pl pop.com.br portugalmail.pt post.com post.cz posteo.de posteo.net prodigy.net.mx proton.me ptd.net
    qq.com r7.com rambler.ru rcn.com rediff.com riseup.net roadrunner.com rogers.com runbox.com safe-mail.net sapo.cv
    sapo.pt sasktel.net seznam.cz sfr.fr shaw.ca sina.cn sina.com singnet.com.sg sky.com skynet.be so-net.ne.jp
    softbank.ne.jp sohu.com speedy.com.ar starmedia.com startmail.com suddenlink.net sunrise.ch superig.com.br
    swbell.net sympatico.ca t-email.hu t-online.de talktalk.net tele2.nl telefonica.net teleline.es telenet.be telia.com
    telkomsa.net telus.net terra.cl terra.com terra.com.ar terra.com.br terra.com.co terra.com.mx terra.com.pe terra.es
    tin.it tiscali.co.uk tiscali.it tlen.pl tom.com tpg.com.au tuta.com tuta.io tutamail.com tutanota.com tutanota.de
    ukr.net uol.com.ar uol.com.br upcmail.nl usa.com usa.net veloxmail.com.br videotron.ca vipmail.hu virgilio.it
    virginmedia.com vivax.com.br vodafone.it vodafonemail.de voila.fr volny.cz vp.pl vsnl.com vsnl.net walla.co.il
    walla.com web.de webmail.co.za westnet.com.au windowslive.com windstream.net wow.com wp.pl xs4all.nl xtra.co.nz
    ya.com ya.ru yeah.net ziggo.nl zipmail.com.br zoho.com zohomail.com zonnet.nl zoznam.sk
"""
FREE: frozenset[str] = frozenset(_FREE.split()) | {
    f"{brand}.{suffix}" for brand, suffixes in BRANDS.items() for suffix in suffixes
}

# Local parts that belong to a function rather than a person.
_ROLES = """
    abuse accessibility account accounting accounts adm admin administracao administracion administration administrativo
    administrator admissions ads advertising affiliate affiliates agency agendamento alert alerts all almacen
    almoxarifado api app appointments apps archive asistencia assessoria assistencia assistenciatecnica atencion
    atencionalcliente atendimento ayuda billing board boleto boletos booking bookings bounce bounces cadastro calidad
    careers centralita ceo cfo cio ciso claims client cliente clientes clients cobranca cobranzas cobros comercial comms
    communications community complaints compliance compras comunicacao comunicacion comunicado condominio consultas
    contabilidad contabilidade contact contactenos contacto contactus contas contas-a-pagar contasapagar contato
    contracts contrataciones coo coordenacao copyright corporate correio cotizaciones credito cto cuentas curriculo
    curriculos customer customercare customers customerservice customersupport dataprotection delivery departamento
    departamentopessoal dept design dev developer developers development devops direccion director diretor diretoria
    dispatch dmarc dns do-not-reply donate donations donotreply dp dpo dudas duvidas editor editorial editors education
    email emailing empleo empleos employment engineering enquiries enquiry envios estimates estoque eventos events
    everyone expedicao export facilities facturacion facturas faleconosco faturamento fax feedback financas finance
    financeiro finanzas fiscal formacion fornecedores ftp fundraising gdpr general gerencia gerente group hello help
    helpdesk hi hiring hola host hosting hostmaster hr humanresources import imprensa info informacion informacoes
    informatica information informes inmobiliaria inquiries inquiry inscripciones insurance intendencia international
    internships inventory investor investors invoice invoices invoicing it itsupport job jobs juridico legal library
    licitacao licitaciones licitacoes list list-request listserv logistica logistics loja mail mailbox mailer
    mailer-daemon mailing maintenance management manager managers mantenimiento manutencao marketing matricula media
    member members membership mercadeo merchandising mesadeayuda mesadepartes moderator moderators municipalidad
    nao-responda naoresponda negocios network news newsletter newsletters nfe no-reply no-responder no.reply noc nomina
    noreply noresponder nota notafiscal notas offers office oficina online operaciones operations ops order orders
    ouvidoria owner owners pagamento pagamentos pagos parceiros parcerias parking partner partners partnerships payable
    payment payments payroll pedido pedidos personal phishing pm policy portaria pos-venda postmaster postventa posvenda
    pr prefeitura prensa presales presidencia press presupuestos principal privacy procurement producao produccion
    product production products project projects projetos promo promotions propaganda proveedores proyectos public
    publicidad publicity purchase purchases purchasing qa qualidade quality quejas quote quotes receivables recepcao
    recepcion reception receptionist reclamaciones reclamos recruit recruiting recruitment recrutamento recursoshumanos
    redaccion registrar registration registro relacionamento release remove reply report reports request requests
    reserva reservaciones reservas reservation reservations returns rh root routing rrhh rsvp sac sale sales school
    secretaria secretary security seguranca seguridad seguros selecao sem seo server service services servicio
    servicioalcliente servico servicos shipping shop signup sindico sistemas site social socios soporte spam sponsor
    sponsorship staff stats store studio subscribe subscriptions sugerencias sugestoes suggestions supervisor suporte
    support suprimentos survey sysadmin system taller team tech technical technology tecnico tesoreria tesouraria test
    testing ti ticket tickets tienda trabalheconosco trade training transporte travel treasurer trouble turismo turnos
    undisclosed-recipients unsubscribe update updates usenet user uucp vaga vagas venda vendas vendedor vendedores
    vendor vendors ventas viajes volunteer volunteers warehouse web webadmin webmaster website webteam welcome wholesale
    www
"""
ROLES: frozenset[str] = frozenset(_ROLES.split())
