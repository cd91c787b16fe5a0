"""Who sits before the browser."""

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait


class Reader:
    """Who sits before the browser."""

    def __init__(self, driver, url):
        self.driver = driver
        self.url = url

    def open(self, path):
        self.driver.get(self.url + path)

    def open_still(self, path):
        """Open a page that leads on at once, and stay there."""
        self.open("/account/login")
        self.driver.execute_async_script(
            """
            const [path, done] = arguments;
            fetch(path).then((got) => got.text()).then((text) => {
                document.open();
                document.write(text.replace(/<meta http-equiv="refresh"[^>]*>/, ""));
                document.close();
                done();
            });
            """,
            path,
        )
        self.wait(lambda: self.driver.execute_script("return document.readyState") == "complete")

    @property
    def text(self):
        return self.driver.find_element(By.TAG_NAME, "main").text

    @property
    def path(self):
        return self.driver.current_url.removeprefix(self.url)

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def fill(self, action, **values):
        form = self.find(f'form[method="post"][action="{action}"]')
        for name, value in values.items():
            field = form.find_element(By.NAME, name)
            field.clear()
            field.send_keys(value)
        self.go(form.find_element(By.CSS_SELECTOR, "button"))

    def go(self, element):
        """Click, and wait for the page that comes."""
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        self._leave(element.click)

    def _leave(self, act):
        page = self.find("html")
        act()
        WebDriverWait(self.driver, 20).until(lambda _: self.is_gone(page))
        WebDriverWait(self.driver, 20).until(
            lambda driver: driver.execute_script("return document.readyState") == "complete"
        )

    def tab_to(self, is_wanted):
        """Go on with the key for it until that has the focus."""
        for _ in range(60):
            self.driver.switch_to.active_element.send_keys(Keys.TAB)
            if is_wanted(self.driver.switch_to.active_element):
                return self.driver.switch_to.active_element
        raise AssertionError("the key for it leads nowhere near")

    def leave_with(self, element, key):
        """Press a key there, and wait for the page that comes."""
        self._leave(lambda: element.send_keys(key))

    def is_gone(self, element):
        try:
            element.is_enabled()
        except Exception as error:
            return "stale" in str(error).lower() or "not belong" in str(error)
        return False

    def agree(self):
        assert "Nothing has happened yet" in self.text
        self.go(self.find("main button.main, main button.danger"))

    def log_in(self, face, secret):
        self.open(f"/{face}/login")
        self.fill(f"/{face}/login", **{"token" if face == "console" else "license_key": secret})
        assert self.path == f"/{face}"

    def wait(self, condition):
        return WebDriverWait(self.driver, 20).until(lambda _: condition())
