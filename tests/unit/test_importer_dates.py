"""The order of day and month in a column of dates."""

import pytest

from mailgenius.importer.dates import detect


@pytest.mark.parametrize(
    ("values", "name", "order", "warned"),
    [
        ([], "", "iso", ""),
        (["", " "], "Created", "iso", ""),
        ([], "Data de cadastro", "dmy", ""),
        ([], "Fecha de alta", "dmy", ""),
        ([], "Database", "iso", ""),
        (["2024-01-31", "2024/02/01", "20240203", "2024-01-31T10:00:00Z"], "created", "iso", ""),
        (["2024-01-31"], "Data de cadastro", "iso", ""),
        (["31/01/2024", "01/02/2024"], "created", "dmy", ""),
        (["31.01.2024 10:00"], "", "dmy", ""),
        (["31-1-2024"], "", "dmy", ""),
        (["01/31/2024", "1/2/2024 3:04 PM"], "created", "mdy", ""),
        (["01/31/2024"], "Data de cadastro", "mdy", ""),
        (["2024-01-31", "01/31/2024"], "", "mdy", ""),
        (
            ["01/02/2024", "03/04/2024"],
            "Date added",
            "dmy",
            "dates in 'Date added' such as '01/02/2024' can be read in two",
        ),
        (["05/05/2024"], "", "dmy", "dates such as '05/05/2024'"),
        (["01/02/2024"], "Data de cadastro", "dmy", ""),
        (["01/02/2024"], "FECHA ALTA", "dmy", ""),
        (["01/02/2024"], "Criado em", "dmy", ""),
        (
            ["31/01/2024", "30/01/2024", "01/31/2024"],
            "d",
            "dmy",
            "written both ways (2 with the day first, 1 with the month",
        ),
        (["31/01/2024", "01/31/2024", "01/30/2024"], "d", "mdy", "such as '01/31/2024'); read as month/day/year"),
        (["31/01/2024", "13/13/2024", "soon", "1/2/24", "31/01-2024", "31/01/20245"], "", "dmy", ""),
    ],
)
def test_detect(values: list[str], name: str, order: str, warned: str) -> None:
    found, warnings = detect(values, name)
    assert found == order
    if warned:
        assert len(warnings) == 1
        assert warned in warnings[0]
    else:
        assert warnings == []
