"""What Django's own machinery caches beside plain values: responses, safe strings, texts to be translated later. Pure."""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import Morsel
from typing import Any, Final

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse, reverse_lazy
from django.utils import translation
from django.utils.functional import Promise
from django.utils.safestring import SafeString

from mailgenius.cache.django.plain import Form, Plain

__all__ = ["django_values"]

_RESPONSE, _LAZY, _SAFE = 32, 33, 34
# Functions whose results are worked out when they are used. Only these are called by reading a value.
_LATER: Final[dict[str, tuple[Callable[..., Any], Callable[..., Any]]]] = {
    "gettext": (translation.gettext, translation.gettext_lazy),
    "ngettext": (translation.ngettext, translation.ngettext_lazy),
    "pgettext": (translation.pgettext, translation.pgettext_lazy),
    "npgettext": (translation.npgettext, translation.npgettext_lazy),
    "reverse": (reverse, reverse_lazy),
}
_NAMES: Final = {now: name for name, (now, _) in _LATER.items()}


def django_values() -> Plain:
    """Plain values and Django's. A response of any class comes back as ``HttpResponse``."""
    safe: Form = (_SAFE, str.__str__, SafeString)
    return Plain({SafeString: safe}, _makings, {_RESPONSE: _response, _LAZY: _lazy})


def _makings(value: Any) -> tuple[int, Any] | None:
    if isinstance(value, HttpResponseBase):
        return _RESPONSE, _parts(value)
    if isinstance(value, Promise):
        return _LAZY, _call(value)
    return None


def _parts(response: Any) -> list[Any]:
    name = type(response).__name__
    if response.streaming:
        raise TypeError(f"a {name} is sent while it is made: it cannot be cached")
    if not getattr(response, "is_rendered", True):
        raise TypeError(f"a {name} that is not rendered yet cannot be cached: render() it first")
    cookies = [
        [cookie.key, cookie.value, cookie.coded_value, {name: value for name, value in cookie.items() if value != ""}]
        for cookie in response.cookies.values()
    ]
    headers = [list(header) for header in response.headers.items()]
    return [response.status_code, response.reason_phrase, response.charset, headers, cookies, bytes(response.content)]


def _response(parts: list[Any]) -> HttpResponse:
    status, reason, charset, headers, cookies, content = parts
    response = HttpResponse(content, status=status, reason=reason, charset=charset, content_type="")
    del response["Content-Type"]
    for name, value in headers:
        response[name] = value
    for key, value, coded, attributes in cookies:
        morsel: Morsel[Any] = Morsel()
        morsel.set(key, value, coded)
        morsel.update(attributes)
        response.cookies[key] = morsel
    return response


def _call(promise: Promise) -> list[Any]:
    _, (function, args, *more) = promise.__reduce__()
    name = _NAMES.get(function) if callable(function) else None
    if name is None or type(args) is not tuple:
        raise TypeError("a lazy value of this kind cannot be cached: cache str(value)")
    return [name, args, more[0]]


def _lazy(parts: list[Any]) -> Any:
    name, args, keywords = parts
    return _LATER[name][1](*args, **keywords)
