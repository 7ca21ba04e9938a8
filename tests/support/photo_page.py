"""Actions of a visitor on the page that recognises photos, with assertions about what the page shows."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.support.browser import PHONE, violations

if TYPE_CHECKING:
    from playwright.sync_api import Frame, FrameLocator, Page

TRANSFER = """([name, type, content]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, { type }));
    return transfer;
}"""


def choose(page: Page | FrameLocator, photo: bytes, name: str = "photo.png") -> None:
    """Choose a photo with the page's button."""
    page.get_by_label("Choose a photo").set_input_files({"name": name, "mimeType": "image/png", "buffer": photo})


def drop(page: Page, photo: bytes) -> None:
    """Drop a photo on the page."""
    transfer = page.evaluate_handle(TRANSFER, ["photo.png", "image/png", b64encode(photo).decode()])
    page.dispatch_event("body", "dragover", {"dataTransfer": transfer})
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})


def paste(page: Page, photo: bytes) -> None:
    """Paste a photo from the clipboard."""
    transfer = page.evaluate_handle(TRANSFER, ["photo.png", "image/png", b64encode(photo).decode()])
    page.evaluate(
        "data => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }))", transfer
    )


def expect_answer(page: Page | FrameLocator, category: str, neighbours: int = 5) -> None:
    """Wait for the answer, and check its parts."""
    expect(page.get_by_role("status")).to_contain_text(f"Recognised: {category}, ")
    expect(page.get_by_role("heading", name=category)).to_be_visible()
    expect(page.get_by_role("row").nth(1)).to_contain_text(category)
    expect(page.get_by_role("listitem")).to_have_count(neighbours)


def assert_fits(page: Page) -> None:
    """Check the page on a phone and at its present size, in light and dark: accessible, and as wide as the window."""
    before = page.viewport_size
    assert before
    for size in (PHONE, before):
        for scheme in ("light", "dark"):
            page.set_viewport_size(size)
            page.emulate_media(color_scheme=scheme)
            assert_frame_fits(page, (size, scheme))


def assert_frame_fits(frame: Page | Frame, case: object = None) -> None:
    """Check that a page is accessible, and not wider than its window."""
    assert violations(frame) == [], case
    assert frame.evaluate("document.documentElement.scrollWidth <= innerWidth"), case
