"""The web console in a real Chromium: what a person sees, chooses, hears read out, and can't be fooled by."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import axe_core_python
import psycopg
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from starlette.types import ASGIApp

from ledger.rules.entries import Address
from tests.integration.console.browser import Console, chromium, served
from tests.integration.console.conftest import MARKUP, TOKEN
from tests.simulation.world import CLUSTER, SimulatedWorld

pytestmark = [pytest.mark.genuine("browser"), pytest.mark.timeout(180)]

Addresses = Callable[[str], Address]
AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text()
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def url(app: ASGIApp) -> Iterator[str]:
    with served(app) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def stranger(browser: Chrome, url: str) -> Console:
    """The console as it opens for the first time, in English."""
    console = Console(browser, url)
    console.prefer(color_scheme="light")
    console.open()
    console.script("sessionStorage.clear(); localStorage.clear()")
    console.open()
    console.complaints()
    return console


@pytest.fixture
def console(stranger: Console) -> Iterator[Console]:
    """Signed in. Whatever the browser complains of fails the test."""
    stranger.sign_in(TOKEN)
    stranger.find(".tiles")
    yield stranger
    assert stranger.complaints() == []


# ------------------------------------------------------------------------------ signing in


def test_a_wrong_token_is_refused_and_the_right_one_opens(stranger: Console) -> None:
    stranger.sign_in("not-a-token-of-anybody")
    stranger.wait_for_text(".said", "not known")
    assert stranger.find("#token").get_attribute("aria-invalid") == "true"
    stranger.sign_in(TOKEN)
    stranger.wait_for_text("h1", "Fleet")
    assert CLUSTER in stranger.find("footer").text


def test_the_token_is_in_no_address_and_gone_after_signing_out(console: Console) -> None:
    assert TOKEN not in console.browser.current_url
    assert console.browser.get_cookies() == []
    console.find(".session button:last-child").click()
    console.find("#token")
    assert console.script("return sessionStorage.length") == 0
    console.open("#/attention")
    console.find("#token")


def test_a_page_that_was_asked_for_opens_after_signing_in(stranger: Console) -> None:
    stranger.open("#/attention")
    stranger.sign_in(TOKEN)
    stranger.wait_for_text("h1", "Attention")


# ------------------------------------------------------------------------------ the timeline


def segments(console: Console) -> list[tuple[str, float, float]]:
    """(kind, left, right) of each, in shares of the line."""
    found = console.script(
        """
        const line = document.querySelector(".track").getBoundingClientRect();
        const share = (x) => (x - line.left) / line.width;
        return [...document.querySelectorAll(".segment")].map((each) => {
          const box = each.getBoundingClientRect();
          return [each.dataset.kind, share(box.left), share(box.right)];
        });
        """
    )
    return [(kind, left, right) for kind, left, right in found]


def test_an_ip_has_a_timeline_with_what_was_kept_hatched(
    console: Console, address: Addresses
) -> None:
    console.search(f" {address('web-0').ipv4} ")
    console.wait_for_text("h1", address("web-0").ipv4)
    drawn = segments(console)
    long = [each for each in drawn if each[2] - each[1] > 0.05]
    assert [kind for kind, _, _ in long] == ["bound", "reserved", "bound"]
    # It was bound for 14 of 52 minutes, kept for 11, and is bound since.
    widths = [round((right - left) * 52) for _, left, right in long]
    assert widths == [14, 11, 26]
    assert long[-1][2] == pytest.approx(1, abs=0.01)
    paint = "return getComputedStyle(document.querySelector(arguments[0])).backgroundImage"
    assert "repeating-linear-gradient" in console.script(paint, ".segment.reserved")
    assert console.script(paint, ".segment.bound") == "none"
    console.wait_for_text(".lead", "Held now by example/web-0")


def test_a_gap_is_empty(console: Console, address: Addresses, world: SimulatedWorld) -> None:
    [(ip,)] = world.ground.rows("SELECT DISTINCT host(ipv4) FROM ledger.tenure WHERE pod = 'job-0'")
    console.search(ip)
    console.wait_for_text(".lead", "Nobody holds it now")
    assert max(right for _, _, right in segments(console)) < 0.3


def test_a_period_opens_its_story_with_causes(console: Console, address: Addresses) -> None:
    console.search(address("web-0").ipv4)
    console.find(".segment.reserved").click()
    console.wait_for_text(".story", "kept for its return")
    story = console.find(".story").text
    assert "Goes back to" in story
    assert "A returning Pod took it up" in story
    assert "eni-ledger.pod.v1[0]@" in story
    within = console.find(".entries.within").text
    assert "The PodENI was written" in within
    assert "entry " in within
    assert "CreateNetworkInterface" not in within
    console.find(".others > summary").click()
    before = console.find(".entries.before").text
    assert "cloud call CreateNetworkInterface request " in before
    pressed = [
        each.get_attribute("data-kind") for each in console.all('.segment[aria-pressed="true"]')
    ]
    assert pressed == ["reserved"]
    console.find(".entries.within details summary").click()
    assert json.loads(console.find(".entries.within details pre").text)


def test_a_table_says_what_the_line_shows(console: Console, address: Addresses) -> None:
    console.search(address("web-0").ipv4)
    console.find(".segment.reserved")
    rows = [each.text for each in console.all(".periods tbody tr")]
    assert len(rows) == len(console.all(".segment"))
    assert "reserved" in rows[2]
    assert "example/web-0" in rows[2]
    console.all(".periods tbody button")[2].click()
    console.wait_for_text(".story .tag", "reserved")


def test_the_keyboard_is_enough(console: Console, address: Addresses) -> None:
    console.open()
    console.find(".tiles")
    ActionChains(console.browser).send_keys(Keys.TAB).perform()
    focused = "return document.activeElement"
    console.script(focused).send_keys(Keys.ENTER)  # skips to the content
    assert console.script("return document.activeElement.id") == "content"
    console.find("#q").send_keys(address("web-0").ipv4 + Keys.ENTER)
    console.find(".segment")
    console.wait(lambda: console.script("return document.activeElement.id") == "content", "focus")
    for _ in range(3):
        if "segment" in (console.script(focused).get_attribute("class") or ""):
            break
        ActionChains(console.browser).send_keys(Keys.TAB).perform()
    assert "bound" in console.script("return document.activeElement.dataset.kind")
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert console.script(outline) == "solid"
    ActionChains(console.browser).send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ENTER).perform()
    console.wait_for_text(".story .tag", "reserved")


def test_a_node_is_found_and_nonsense_is_said_to_be_so(console: Console) -> None:
    console.search("node-h2")
    console.wait_for_text("main", "node-h2")
    console.search("what is this?")
    console.wait_for_text("h1", "nothing that this ledger knows")


def test_what_is_not_managed_is_not_called_free(console: Console) -> None:
    console.search("10.99.99.99")
    console.wait_for_text(".notice", "Not managed here")
    assert "does not mean that nobody has it" in console.find(".notice").text


# ------------------------------------------------------------------------------ the fleet


def test_the_fleet_counts_and_warns(console: Console) -> None:
    tiles = {each.text.splitlines()[1]: each.text.splitlines()[0] for each in console.all(".tile")}
    assert tiles == {"Bound": "2", "Reserved": "1", "Preparing": "0", "Waiting": "1", "Parked": "0"}
    assert "Nothing is detached" in console.find(".notice.warning").text
    assert "vsw-bpxxxx" in console.find(".vswitches").text
    assert "example/web-1" in console.find("section[aria-labelledby=kept] table").text
    console.find(".needs").click()
    console.wait_for_text("h1", "Attention")
    page = console.find("main").text
    for part in (
        "eni-stray",
        "unknown intent",
        "not-json",
        "no vSwitch in zone",
        "eni-ledger dlq redrive",
    ):
        assert part in page
    assert "hunter2" not in page


def test_a_pod_is_explained(console: Console) -> None:
    console.go("#/t/pod/example/web-0")
    console.find(".page-head p a").click()
    console.wait_for_text(".verdict", "ENI of its own")
    console.wait_for_text("main table", "example")
    box = console.find("#pod")
    box.clear()
    box.send_keys("example/nobody" + Keys.ENTER)
    console.wait_for_text(".notice.warning", "does not exist")
    told = console.complaints()  # the browser tells of each
    assert [each for each in told if "404" not in each] == []


# ------------------------------------------------------------------------------ languages and looks


def test_the_language_is_the_browser_s_and_can_be_changed(console: Console, url: str) -> None:
    assert console.script("return document.documentElement.lang") == "en"
    console.find(".language").click()
    console.wait_for_text("h1", "总览")
    assert console.script("return document.documentElement.lang") == "zh-CN"
    console.open("#/attention")
    console.wait_for_text("h1", "待处理")
    console.find(".language").click()
    console.wait_for_text("h1", "Attention")
    with chromium(language="zh-CN") as chinese:
        other = Console(chinese, url)
        other.open()
        other.wait_for_text("h1", "谁用过这个地址")


def luminance(colour: str) -> float:
    red, green, blue = (float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_dark_where_the_reader_s_system_is(console: Console) -> None:
    paper = "return getComputedStyle(document.body).backgroundColor"
    ink = "return getComputedStyle(document.body).color"
    assert luminance(console.script(paper)) > 230 > 80 > luminance(console.script(ink))
    console.prefer(color_scheme="dark")
    assert luminance(console.script(paper)) < 40 < 200 < luminance(console.script(ink))


PLACES = ("#/", "#/interfaces", "#/attention", "#/explain/example/web-0", "#/t/pod/example/web-0")


@pytest.mark.parametrize("place", PLACES)
def test_a_phone_shows_it_without_scrolling_sideways(console: Console, place: str) -> None:
    console.open(place, **PHONE)
    console.find("h1")
    assert console.script("return document.documentElement.scrollWidth") <= PHONE["width"]
    if place.startswith("#/t/"):
        assert console.find(".segment.reserved").is_displayed()


def test_nothing_moves_for_those_who_asked_for_calm(console: Console) -> None:
    console.prefer(reduced_motion="reduce")
    console.go("#/t/pod/example/web-0")
    seconds = "return getComputedStyle(document.querySelector('.segment')).transitionDuration"
    console.find(".segment")
    assert console.script(seconds) == "0s"


# ------------------------------------------------------------------------------ markup, and axe


def test_html_in_a_name_is_text(console: Console, world: SimulatedWorld) -> None:
    with psycopg.connect(world.dsn) as connection:
        for table in ("allocation", "tenure"):
            connection.execute(
                f"UPDATE ledger.{table} SET pod = %s, node = %s WHERE pod = 'web-2'",
                [MARKUP, MARKUP],
            )
    try:
        for place in ("#/interfaces", "#/attention", "#/", f"#/t/ip/{_ip_of(world, MARKUP)}"):
            console.open(place)
            console.find("h1")
            console.wait(lambda: "Loading" not in console.find("main").text, "the page")
            assert console.all("main img") == []
            assert "owned" not in console.browser.title
            if place != "#/":
                assert MARKUP in console.find("main").text
    finally:
        with psycopg.connect(world.dsn) as connection:
            for table in ("allocation", "tenure"):
                connection.execute(
                    f"UPDATE ledger.{table} SET pod = 'web-2', node = 'node-h1' WHERE pod = %s",
                    [MARKUP],
                )


def _ip_of(world: SimulatedWorld, pod: str) -> str:
    [(ip,)] = world.ground.rows("SELECT host(ipv4) FROM ledger.allocation WHERE pod = %s", [pod])
    return str(ip)


def test_the_browser_itself_refuses_markup_and_foreign_scripts(stranger: Console) -> None:
    refused = stranger.script(
        """
        try { document.body.innerHTML = "<b>x</b>"; return "taken"; } catch (failed) { return failed.name; }
        """
    )
    assert refused == "TypeError"
    stranger.script(
        "const s = document.createElement('img'); s.src = 'https://example.invalid/x.png';"
        " document.body.append(s)"
    )
    stranger.wait(
        lambda: any("Content Security Policy" in each for each in stranger.complaints()),
        "a refusal",
    )


def violations(console: Console) -> list[str]:
    console.script(AXE)
    found = console.browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run(document, {resultTypes: ['violations']})"
        ".then((r) => done(r.violations), (e) => done([{id: String(e), nodes: []}]));"
    )
    return [
        f"{each['id']}: {node['target']} {node.get('failureSummary', '')}"
        for each in found
        for node in each["nodes"] or [{"target": ""}]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", PLACES)
def test_axe_finds_nothing_to_mend(console: Console, place: str, scheme: str) -> None:
    """Labels, names, headings, landmarks and computed contrast, by rules that aren't ours."""
    console.prefer(color_scheme=scheme)
    console.open(place)
    console.find("h1")
    if place.startswith("#/t/"):
        console.find(".entries li")
    assert violations(console) == []


def test_axe_finds_nothing_to_mend_at_the_door(stranger: Console) -> None:
    assert violations(stranger) == []


def test_every_word_is_there_in_both_languages(console: Console) -> None:
    told: Any = console.browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "Promise.all([import('/static/en.js'), import('/static/zh.js')])"
        ".then(([en, zh]) => done([Object.keys(en.default), Object.keys(zh.default)]));"
    )
    assert sorted(told[0]) == sorted(told[1])
    console.find(".language").click()
    for place in PLACES:
        console.open(place)
        console.find("h1")
        shown = console.find("main").text
        assert not [key for key in told[0] if "." in key and f" {key} " in f" {shown} "]
