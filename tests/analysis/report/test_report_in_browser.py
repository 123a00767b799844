"""The report's page in a real browser: headless Chromium, on a desk and on a phone."""

import base64
import io
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from report_pages import full_run, report
from runs import make_run, options

SIZES = {"desk": (1280, 900), "phone": (390, 844)}
PROGRAMS = ("chromium", "chromedriver")
MISSING = "no {} found; on Debian: apt-get install chromium chromium-driver"
FLAGS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu")
SETTLED = """
const wanted = [...document.querySelectorAll('img')].every(image => image.complete)
  && [...document.querySelectorAll('video')].every(video => video.error || video.readyState >= 2);
return wanted;
"""
# A page as wide as the window, or a part of it that scrolls by itself.
WIDER = """
return [...document.querySelectorAll('body *')].filter(element =>
  !element.closest('.scroll') && element.getBoundingClientRect().right > innerWidth + 1
).map(element => element.outerHTML.slice(0, 80));
"""


@pytest.fixture(scope="module")
def driver():
    paths = {name: shutil.which(name) for name in PROGRAMS}
    if lacking := [name for name, path in paths.items() if path is None]:
        text = MISSING.format(" and no ".join(lacking))
        if os.environ.get("CI") or os.environ.get("CLION_TF_BROWSER") == "required":
            pytest.fail(text)
        pytest.skip(text)
    os.environ["SE_OFFLINE"] = "true"  # Selenium must not look for drivers itself.
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    wanted = webdriver.ChromeOptions()
    wanted.binary_location = paths["chromium"]
    for flag in FLAGS:
        wanted.add_argument(flag)
    wanted.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=wanted, service=Service(paths["chromedriver"]))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Three runs: one that has everything, one that has only begun, one with an odd name."""
    root = tmp_path_factory.mktemp("runs")
    full_run(root / "full", rotation_degrees=5.0)
    make_run(root / "begun", {}, {}, options(seed=1))
    odd = "long-" * 30 + "<script>document.title='changed'</script>".replace("/", "∕")
    make_run(root / odd, {5000: 1.0, 105_000: 2.0}, {}, options("table1_rotation", seed=2))
    out = root / "page.html"
    assert report("--logdirs", root, "--title", "All <b>runs</b>", "--out", out) == 0
    return out


@pytest.fixture(scope="module", params=SIZES)
def opened(driver, page, request):
    """The page with all of it unfolded and loaded."""
    from selenium.webdriver.support.ui import WebDriverWait

    width, height = SIZES[request.param]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1}
    metrics["mobile"] = request.param == "phone"
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.get(page.as_uri())
    driver.execute_script("document.querySelectorAll('details').forEach(one => one.open = true)")
    # Some load only once they are seen.
    for element in driver.find_elements("css selector", "img, video"):
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    WebDriverWait(driver, 20).until(lambda browser: browser.execute_script(SETTLED))
    assert driver.execute_script("return innerWidth") == width
    return driver


def test_images_load(opened):
    sizes = opened.execute_script(
        "return [...document.querySelectorAll('img')]"
        ".map(image => [image.naturalWidth, image.naturalHeight, image.clientWidth])"
    )
    assert len(sizes) == 16
    assert all(min(size) > 0 for size in sizes)


def test_videos_load_and_play(opened):
    videos = opened.find_elements("css selector", "video")
    assert len(videos) == 1
    state = "const v = arguments[0]; return [v.error, v.readyState >= 2, v.videoWidth, v.muted]"
    assert opened.execute_script(state, videos[0]) == [None, True, 256, True]
    played = opened.execute_async_script(
        "const [v, done] = arguments;"
        "v.addEventListener('timeupdate', () => v.currentTime > 0 && done(true));"
        "v.play().catch(error => done(String(error)))",
        videos[0],
    )
    assert played is True


def test_nothing_is_wider_than_the_window(opened):
    width = opened.execute_script("return document.documentElement.scrollWidth - innerWidth")
    assert width <= 1
    assert opened.execute_script(WIDER) == []


def test_nothing_goes_wrong(opened):
    messages = [one for one in opened.get_log("browser") if one["level"] != "DEBUG"]
    assert messages == []
    assert opened.title == "All <b>runs</b>"
    assert opened.find_elements("css selector", "script, main b") == []


def test_page_asks_for_no_other_file(opened):
    names = opened.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
    )
    assert all(name.startswith("data:") for name in names)


def test_page_can_be_seen(opened):
    opened.execute_script("scrollTo(0, 0)")
    picture = Image.open(io.BytesIO(base64.b64decode(opened.get_screenshot_as_base64())))
    pixels = np.asarray(picture.convert("L"), np.float64)
    assert pixels.std() > 10  # A blank page has 0.
    heading = opened.find_element("css selector", "h1")
    assert heading.is_displayed() and heading.text == "All <b>runs</b>"


def test_figures_can_be_read(opened):
    """Letters of 9 points at 150 dots an inch are 19 pixels high; less than half is too small."""
    shares = opened.execute_script(
        "return [...document.querySelectorAll('.panels img, .curves img')]"
        ".map(image => image.clientWidth / image.naturalWidth)"
    )
    assert len(shares) > 10 and min(shares) > 0.45
