"""What Django itself caches: responses of views, parts of templates, sessions, safe strings, texts to be translated."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.sessions.backends.cache import SessionStore
from django.core.cache import caches
from django.core.cache.utils import make_template_fragment_key
from django.http import FileResponse, HttpResponse, HttpResponseNotFound, JsonResponse, StreamingHttpResponse
from django.template import Context, Template, engines
from django.template.response import SimpleTemplateResponse
from django.test import RequestFactory, override_settings
from django.urls import path, reverse_lazy
from django.utils import translation
from django.utils.functional import Promise, lazystr
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import cache_page
from django.views.decorators.vary import vary_on_headers

from mailgenius.cache.django import close_all
from mailgenius.servers import ValkeyServer
from tests.rooms.django_caches import one

urlpatterns = [path("leads/<int:lead>/", lambda request, lead: HttpResponse(), name="lead")]


@pytest.fixture(autouse=True)
def _stores() -> Iterator[None]:
    """Caches of a test share their counts with none of another."""
    yield
    close_all()


@pytest.fixture
def cache(redis_server: ValkeyServer) -> Iterator[Any]:
    """Django's own ``caches["default"]``."""
    with override_settings(CACHES={"default": one(redis_server)}, ROOT_URLCONF=__name__):
        yield caches["default"]


def test_a_response_comes_back_as_it_was_sent(cache: Any) -> None:
    response = HttpResponse("olá".encode("latin-1"), status=418, reason="Short and stout", charset="latin-1")
    response["Content-Type"] = "text/x-tea; charset=latin-1"
    response["X-Two"] = "one, two"
    response.set_cookie("a", "ç;b", max_age=60, secure=True, httponly=True, samesite="Lax", path="/x")
    response.set_signed_cookie("signed", "value")
    response.delete_cookie("old")
    cache.set("response", response)
    back = cache.get("response")
    assert type(back) is HttpResponse
    assert (back.status_code, back.reason_phrase, back.charset) == (418, "Short and stout", "latin-1")
    assert back.content.decode(back.charset) == "olá"
    assert back.headers.items() == response.headers.items()
    assert back.cookies == response.cookies
    assert back.cookies.output() == response.cookies.output()
    back["Age"] = "5"
    assert back.serialize_headers() == response.serialize_headers() + b"\r\nAge: 5"
    cache.set("again", back)
    assert cache.get("again").cookies == response.cookies


def test_responses_of_other_classes(cache: Any) -> None:
    cache.set("json", JsonResponse({"a": 1}))
    assert json.loads(cache.get("json").content) == {"a": 1}
    assert cache.get("json")["Content-Type"] == "application/json"
    bare = HttpResponseNotFound()
    del bare["Content-Type"]
    cache.set("bare", bare)
    assert (cache.get("bare").status_code, dict(cache.get("bare").headers)) == (404, {})
    page = SimpleTemplateResponse(engines["django"].from_string("{{ n }}"), {"n": 1})
    with pytest.raises(TypeError, match=r"that is not rendered yet cannot be cached: render\(\) it first"):
        cache.set("page", page)
    cache.set("page", page.render())
    assert cache.get("page").content == b"1"
    for kind in (StreamingHttpResponse, FileResponse):
        with contextlib.closing(kind(iter([b"a"]))) as streaming, pytest.raises(TypeError, match="is sent while"):
            cache.set("streaming", streaming)


def test_cache_page(cache: Any) -> None:
    calls: list[str] = []

    @cache_page(60)
    @vary_on_headers("X-Tenant")
    def view(request: Any) -> HttpResponse:
        calls.append(request.headers["X-Tenant"])
        response = HttpResponse(f"Hello, {calls[-1]}" + " " * 5000)
        response.set_cookie("seen", "1")
        return response

    requests = RequestFactory()
    for _ in range(3):
        for tenant in ("acme", "other"):
            response = view(requests.get("/page", headers={"X-Tenant": tenant}))
            assert response.content.startswith(f"Hello, {tenant}".encode())
            assert response.cookies["seen"].value == "1"
            assert "max-age=60" in response["Cache-Control"]
            assert response["Vary"] == "X-Tenant"
    assert calls == ["acme", "other"]
    assert view(requests.head("/page", headers={"X-Tenant": "acme"})).status_code == 200
    assert cache.metrics().unread == {}


def test_parts_of_templates(cache: Any) -> None:
    template = Template("{% load cache %}{% cache 60 side user %}{{ text }}{% endcache %}")
    assert template.render(Context({"user": 1, "text": "<first>"})) == "&lt;first&gt;"
    assert template.render(Context({"user": 1, "text": "second"})) == "&lt;first&gt;"
    assert template.render(Context({"user": 2, "text": "second"})) == "second"
    part = cache.get(make_template_fragment_key("side", [1]))
    assert type(part) is SafeString


def test_sessions(cache: Any) -> None:
    session = SessionStore()
    session["cart"] = {"lead": 7, "tags": ["a"]}
    session.set_expiry(600)
    session.save()
    again = SessionStore(session.session_key)
    assert again["cart"] == {"lead": 7, "tags": ["a"]}
    assert again.get_expiry_age() == 600
    again.cycle_key()
    assert SessionStore(session.session_key).load() == {}
    assert SessionStore(again.session_key)["cart"]["lead"] == 7
    assert again.exists(again.session_key)
    again.flush()
    assert SessionStore(again.session_key).load() == {}


def test_safe_strings_stay_safe(cache: Any) -> None:
    cache.set("safe", {"a": mark_safe("<b>"), "b": "<b>"})
    back = cache.get("safe")
    assert [type(text) for text in back.values()] == [SafeString, str]
    assert Template("{{ a }}{{ b }}").render(Context(back)) == "<b>&lt;b&gt;"


def test_lazy_texts_are_translated_when_they_are_used(cache: Any) -> None:
    texts = {
        "plain": translation.gettext_lazy("Monday"),
        "context": translation.pgettext_lazy("a day", "Monday"),
        "number": translation.ngettext_lazy("%d day", "%d days", 2),
        "url": reverse_lazy("lead", kwargs={"lead": 7}),
    }
    cache.set("texts", texts)
    back = cache.get("texts")
    assert all(isinstance(text, Promise) for text in back.values())
    assert str(back["url"]) == "/leads/7/"
    for language in ("en", "de", "pt"):
        with translation.override(language):
            assert {key: str(text) for key, text in back.items()} == {key: str(text) for key, text in texts.items()}
    with translation.override("de"):
        assert str(back["plain"]) == "Montag"
    for other in (lazystr("text"), translation.ngettext_lazy("%(n)d day", "%(n)d days", "n")):
        with pytest.raises(TypeError, match=r"cache str\(value\)"):
            cache.set("other", other)
