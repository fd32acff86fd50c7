"""Makes the README's picture of the live page: python -m tests.dashboard.picture deploy/page.png

It runs the demo, waits until there is something to see, opens one sensor's page in headless Chromium, and reduces the
screenshot to 256 colours, so that the file stays small.
"""

import io
import os
import shutil
import subprocess
import sys
import time

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

SECONDS = 60
SERIES = "plant%2Fpump1%2Fpressure"


def main(target: str) -> None:
    """Write the picture."""
    command = [sys.executable, "-m", "stepahead", "demo", "--seconds", str(SECONDS + 40), "--json", "--rate", "8"]
    demo = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert demo.stderr is not None
    page = next(line for line in demo.stderr if "live page" in line).split()[-1]
    options = Options()
    options.binary_location = shutil.which("chromium") or "chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1240,1140"):
        options.add_argument(argument)
    os.environ["SE_OFFLINE"] = "true"
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver") or "chromedriver"))
    try:
        time.sleep(SECONDS)
        browser.get(f"{page}#/series/{SERIES}")
        time.sleep(4)
        shot = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    finally:
        browser.quit()
        demo.terminate()
        demo.wait(30)
    shot.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE).save(
        target, optimize=True
    )
    print(f"{target}: {os.path.getsize(target) // 1024} KiB")


if __name__ == "__main__":
    main(sys.argv[1])
