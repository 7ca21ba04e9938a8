"""The page in a browser: by mouse, keyboard and clipboard, on a phone, with errors, and from a page of another site."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from fruits_features.client.serve import limits, recognition
from fruits_features.client.serve.application import application
from fruits_features.client.serve.limits import Limits
from fruits_features.client.serve.service import Service
from tests.support.browser import PHONE
from tests.support.http_server import serving
from tests.support.photo_page import assert_fits, choose, drop, expect_answer, paste
from tests.support.served_app import serving_app
from tests.support.small_runs import photograph

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page, Route

PHOTO = photograph(0, 200)
LIMITS = Limits(max_bytes=2**20, per_minute=10, max_age_s=1)
ATTACK = """async ([url, mode]) => {
    try {
        const answer = await fetch(url, {method: "POST", mode, body: "photo"});
        return `${answer.type} ${answer.status}`;
    } catch (error) {
        return String(error);
    }
}"""


@pytest.fixture
def url(memory: Any, in_process: None) -> Iterator[str]:  # noqa: ANN401, ARG001
    lime = "s3://fruits/images/Training/Lime"
    memory.images |= {f"{lime}/first-{number}.png": photograph(number, 100) for number in range(4)}
    with serving_app(application(Service(memory.source, LIMITS), ())) as url:
        yield f"{url}/"


@pytest.fixture
def opened(page: Page, url: str) -> Iterator[Page]:
    """The page. It must not log errors."""
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    expect(page.get_by_text("Run first, 3 categories.")).to_be_visible()
    yield page
    assert [error for error in errors if not error.startswith("Failed to load resource")] == []


def test_empty_page_is_accessible_and_fits_a_phone(opened: Page) -> None:
    assert_fits(opened)
    expect(opened.get_by_text("At most 1 MiB and 52 megapixels. Photos are not stored.")).to_be_visible()


def test_answer_is_accessible_and_fits_a_phone(opened: Page, tmp_path: Path) -> None:
    """Screenshots go to pytest's temporary folder."""
    choose(opened, PHOTO)

    expect_answer(opened, "Lime")
    assert opened.get_by_role("row").all_inner_texts() == [
        "Category\tProbability",
        "Lime\t70%",
        "Apple\t20%",
        "Plum\t10%",
    ]
    assert opened.get_by_role("listitem").first.inner_text().split("\n") == ["Lime", "Cosine 0.900", "first-0.png"]
    expect(opened.get_by_text("No picture")).to_have_count(1)
    opened.wait_for_function("[...document.images].every((image) => image.complete)")
    shown = opened.locator("img").evaluate_all("images => images.map((one) => one.naturalWidth > 0)")
    assert shown == [True] * 5  # the photo and four pictures
    assert_fits(opened)
    for width, scheme in ((1280, "light"), (390, "dark")):
        opened.set_viewport_size({"width": width, "height": 900})
        opened.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        opened.screenshot(path=tmp_path / f"recognise-{width}-{scheme}.png", full_page=True)


def test_probability_is_never_shown_as_certain(opened: Page) -> None:
    guesses = [{"category": name, "probability": value} for name, value in (("Lime", 0.9999), ("Plum", 0.0001))]
    answer = {"run": "first", "categories": guesses, "neighbours": []}
    opened.route("**/recognise*", lambda route: route.fulfill(json=answer))

    choose(opened, PHOTO)

    expect(opened.get_by_role("heading", name="Lime, > 99.9%")).to_be_visible()
    expect(opened.get_by_role("row").last).to_contain_text("< 0.1%")


def test_name_from_right_to_left_stands_before_its_probability(opened: Page) -> None:
    answer = {"run": "first", "categories": [{"category": "\N{ARABIC LETTER MEEM}", "probability": 0.7}]}
    opened.route("**/recognise*", lambda route: route.fulfill(json={**answer, "neighbours": []}))

    choose(opened, PHOTO)

    guess = opened.get_by_role("heading", level=2).first
    expect(guess).to_have_text("\N{ARABIC LETTER MEEM}, 70%")
    name, share = guess.evaluate(
        """heading => [...heading.childNodes].map((part) => {
            const range = document.createRange();
            range.selectNodeContents(part);
            return range.getBoundingClientRect().left;
        })"""
    )
    assert name < share


def test_photo_is_dropped_or_pasted(opened: Page) -> None:
    drop(opened, PHOTO)
    expect_answer(opened, "Lime")

    opened.reload()
    paste(opened, PHOTO)
    expect_answer(opened, "Lime")


def test_photo_is_chosen_by_keyboard(opened: Page) -> None:
    opened.on("filechooser", lambda _: None)  # intercepts the dialog from now on, and not only once it is expected
    opened.keyboard.press("Tab")
    focused = opened.get_by_label("Choose a photo")
    expect(focused).to_be_focused()
    ring = opened.locator(".button").first.evaluate("button => getComputedStyle(button).outlineStyle")
    assert ring == "solid"

    with opened.expect_file_chooser() as chooser:
        opened.keyboard.press("Enter")
    chooser.value.set_files({"name": "photo.png", "mimeType": "image/png", "buffer": PHOTO})

    expect_answer(opened, "Lime")
    expect(focused).to_be_focused()


def test_phone_offers_its_camera(page: Page, url: str) -> None:
    browser = page.context.browser
    assert browser
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    phone = context.new_page()
    phone.goto(url)

    camera = phone.get_by_label("Take a photo")
    expect(phone.get_by_text("Take a photo")).to_be_visible()
    assert camera.get_attribute("capture") == "environment"
    camera.set_input_files({"name": "image.jpg", "mimeType": "image/jpeg", "buffer": PHOTO})
    expect_answer(phone, "Lime")
    context.close()


def test_photo_that_is_chosen_before_the_script_is_loaded_is_recognised(page: Page, url: str) -> None:
    held: list[Route] = []
    page.route("**/page.js", lambda route: held.append(route))  # noqa: PLW0108 - takes no built-in
    with page.expect_request("**/page.js"):
        page.goto(url, wait_until="commit")
    choose(page, PHOTO)
    assert len(held) == 1

    held[0].continue_()

    expect_answer(page, "Lime")


def test_file_that_is_no_photo_is_explained(opened: Page) -> None:
    choose(opened, PHOTO)
    expect_answer(opened, "Lime")

    choose(opened, b"hello", "hello.txt")

    expect(opened.get_by_role("alert")).to_have_text(
        "The file is not a JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC file: it starts with 68 65 6c 6c 6f."
    )
    expect(opened.get_by_role("heading", name="Lime")).to_be_hidden()
    assert_fits(opened)


def test_photo_above_the_limit_is_not_sent(opened: Page) -> None:
    requests: list[str] = []
    opened.on("request", lambda request: requests.append(request.url))

    choose(opened, bytes(3 * 2**20))

    expect(opened.get_by_role("alert")).to_have_text("The photo has 3 MiB; the limit is 1 MiB.")
    assert requests == []


def test_text_that_is_dropped_is_explained(opened: Page) -> None:
    transfer = opened.evaluate_handle("new DataTransfer()")
    opened.dispatch_event("body", "drop", {"dataTransfer": transfer})

    expect(opened.get_by_role("alert")).to_contain_text("This is not a file.")


def test_rate_is_explained(opened: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MINUTE_S", 3600.0)  # another photo is allowed after six minutes, not six seconds
    for _ in range(LIMITS.per_minute):
        assert opened.request.post(f"{opened.url}recognise", data=PHOTO).ok

    choose(opened, PHOTO)

    expect(opened.get_by_role("alert")).to_contain_text("More than 10 photos a minute; try again in")


def test_newer_photo_replaces_one_in_progress(opened: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    embed, answered = recognition.Worker.embed, threading.Event()

    def slowly(worker: Any, photo: bytes) -> Any:  # noqa: ANN401
        assert photo != PHOTO or answered.wait(60)
        return embed(worker, photo)

    monkeypatch.setattr(recognition.Worker, "embed", slowly)
    choose(opened, PHOTO)
    expect(opened.get_by_role("status")).to_have_text("Recognising the photo …")

    with opened.expect_event("requestfailed"):  # the page takes the first photo back
        choose(opened, b"hello")
    answered.set()

    expect(opened.get_by_role("alert")).to_contain_text("68 65 6c 6c 6f")
    expect(opened.get_by_role("heading", name="Lime")).to_be_hidden()


def test_server_that_does_not_answer_is_explained(opened: Page) -> None:
    opened.route("**/recognise*", lambda route: route.abort())

    choose(opened, PHOTO)

    expect(opened.get_by_role("alert")).to_have_text("The server did not answer. Check the connection, and try again.")


def test_missing_run_is_explained_until_it_is_published(page: Page, url: str, memory: Any) -> None:  # noqa: ANN401
    memory.error = FileNotFoundError("There is no s3://fruits/features/latest.json: run the DAG on this bucket first.")

    page.goto(url)

    expect(page.get_by_role("alert")).to_have_text(str(memory.error))
    assert_fits(page)
    memory.error = None
    expect(page.get_by_text("Run first, 3 categories.")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_names_of_categories_and_files_are_text(page: Page, url: str, memory: Any) -> None:  # noqa: ANN401
    memory.pointer = '<img src=x onerror="document.title=1">'
    page.goto(url)

    choose(page, PHOTO)

    expect_answer(page, "Lime")
    assert page.title() == "Recognise a photo \N{EN DASH} Fruits!"
    expect(page.get_by_text(memory.pointer)).to_have_count(7)  # the run twice, and the files of five neighbours


@pytest.fixture
def evil_page(tmp_path: Path, page: Page) -> Iterator[Page]:
    """A page of another origin."""
    (tmp_path / "index.html").write_text("<!doctype html><title>evil</title>")
    with serving(partial(SimpleHTTPRequestHandler, directory=str(tmp_path))) as evil:
        page.goto(f"{evil}/index.html")
        yield page


def test_page_of_another_origin_uses_no_time_and_reads_nothing(
    evil_page: Page,
    url: str,
    memory: Any,  # noqa: ANN401
) -> None:
    answers = [evil_page.evaluate(ATTACK, [f"{url}recognise", mode]) for mode in ("cors", "no-cors")]

    assert answers == ["TypeError: Failed to fetch"] * 2
    assert memory.opened == []


def test_page_after_dns_rebinding_is_rejected_by_its_host(
    evil_page: Page,
    url: str,
    memory: Any,  # noqa: ANN401
) -> None:
    rebound = f"http://evil.example:{urlsplit(url).port}/"

    answer = evil_page.goto(rebound)

    assert answer
    assert (answer.status, "is not a name of this server" in answer.text()) == (403, True)
    assert evil_page.evaluate(ATTACK, [f"{rebound}recognise", "cors"]) == "basic 403"
    assert memory.opened == []


def test_page_cannot_be_framed_by_another_site(evil_page: Page, url: str) -> None:
    add_frame = "url => document.body.append(Object.assign(document.createElement('iframe'), {src: url}))"
    with evil_page.expect_event("framenavigated", lambda frame: frame.url not in {"", "about:blank"}):
        evil_page.evaluate(add_frame, url)

    assert [frame.url for frame in evil_page.frames[1:]] == ["chrome-error://chromewebdata/"]
