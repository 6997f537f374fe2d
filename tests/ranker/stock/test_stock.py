import json
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tribid.envs.scenario import load_scenario
from tribid.ranker.stock import LiveStock, StockChange, StockItem, read_stock, scenario_stock
from tribid.ranker.stock.item import check_url

ITEM = {"title": "Lamp", "price_micros": 10_000_000, "count": 5, "category": 1, "url": "https://shop.example/1"}

FIELDS = "title, price_micros, count, category, url"


def a_stock(count: int = 5) -> LiveStock:
    return LiveStock([StockItem(**{**ITEM, "count": count}), StockItem(**ITEM)], now_ms=lambda: 7)


def test_taking_takes_all_it_was_asked_for_or_nothing() -> None:
    stock = a_stock(5)
    assert stock.take(0, 3) and stock.item(0).count == 2
    assert not stock.take(0, 3) and stock.item(0).count == 2
    assert stock.take(0, 2) and stock.item(0).count == 0 and not stock.is_available(0)
    assert not stock.take(0)
    assert stock.put_back(0, 2).count == 2


def test_many_buyers_at_once_get_no_more_than_there_is() -> None:
    got: list[int] = []
    # The clock is read in the middle of a change: giving way there lets buyers meet.
    stock = LiveStock([StockItem(**{**ITEM, "count": 500})], now_ms=lambda: time.sleep(1e-5) or 7)

    def buy() -> None:
        for count in (1, 2, 3) * 40:
            if stock.take(0, count):
                got.append(count)

    buyers = [threading.Thread(target=buy) for _ in range(16)]
    for buyer in buyers:
        buyer.start()
    for buyer in buyers:
        buyer.join()
    assert sum(got) == 500 and stock.item(0).count == 0
    assert stock.version == len(got)


@given(st.lists(st.tuples(st.sampled_from(["take", "put"]), st.integers(1, 9)), max_size=40))
def test_a_count_is_what_was_put_less_what_was_taken_and_never_below_zero(steps: list[tuple[str, int]]) -> None:
    stock, count = a_stock(5), 5
    for step, amount in steps:
        if step == "put":
            count = stock.put_back(0, amount).count
        elif stock.take(0, amount):
            count -= amount
        assert stock.item(0).count == count >= 0


def test_an_update_changes_what_it_names_and_tells_before_and_after() -> None:
    stock, told = a_stock(), []
    leave = stock.subscribe(told.append)
    change = stock.update(1, price_micros=8_000_000)
    assert change == StockChange(1, StockItem(**ITEM), StockItem(**{**ITEM, "price_micros": 8_000_000}), 7, 1)
    assert stock.update(1, price_micros=8_000_000) is None
    assert told == [change]
    leave()
    stock.take(0)
    assert told == [change] and stock.version == 2


def test_listeners_hear_of_changes_in_their_order_before_the_update_returns() -> None:
    stock, told, untold = a_stock(), [], []
    heard: set[int] = set()
    stock.subscribe(told.append)
    stock.subscribe(lambda change: heard.add(change.version))

    def reprice(buyer: int) -> None:
        for step in range(200):
            change = stock.update(0, price_micros=1_000 * buyer + step)
            if change is not None and change.version not in heard:
                untold.append(change)

    buyers = [threading.Thread(target=reprice, args=[buyer]) for buyer in range(8)]
    for buyer in buyers:
        buyer.start()
    for buyer in buyers:
        buyer.join()
    assert untold == []
    assert [change.version for change in told] == list(range(1, 1_601))
    assert all(one.after == other.before for one, other in pairwise(told))


def test_a_listener_may_update_the_stock_and_one_that_fails_harms_nobody() -> None:
    stock, told = a_stock(), []

    def refill(change: StockChange) -> None:
        if change.after.count == 0:
            stock.put_back(change.item, 10)

    def fail(change: StockChange) -> None:
        raise RuntimeError("no")

    for listener in (refill, fail, lambda change: told.append((change.version, change.after.count))):
        stock.subscribe(listener)
    stock.take(0, 5)
    assert stock.item(0).count == 10 and told == [(1, 0), (2, 10)]


def test_a_refused_update_changes_nothing_and_names_what_is_wrong() -> None:
    stock = a_stock()
    with pytest.raises(ValueError, match="price_micros is -1"):
        stock.update(0, count=1, price_micros=-1)
    with pytest.raises(ValueError, match="colour is no field of an item; choose title"):
        stock.update(0, colour="red")
    with pytest.raises(ValueError, match="item is 2; allowed is 0 to 1"):
        stock.item(2)
    with pytest.raises(ValueError, match="count is 0"):
        stock.take(0, 0)
    assert stock.version == 0 and stock.item(0).count == 5


@pytest.mark.parametrize(
    "url",
    [
        "", "javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "file:///etc/passwd", "ftp://a.example/",
        "//evil.example", "/item/1", "https://", "https:///x", "https:evil.example", "http://user@evil.example/",
        "https://shop.example@evil.example/", "https://shop.example\\@evil.example/", "https://a b.example/",
        "https://shop.example/\r\nSet-Cookie: a=1", "https://shop.example/\"onclick=alert(1)", "https://shop.example/<b>",
        "https://shop.example:99999/", "https://shop.example:x/", "https://xn--\u0430.example/", "https://-/", " https://a.b/",
        "https://shop.example/" + "a" * 2_000, "https://[::1", "https://[x]/", "\x00https://a.b/",
    ],
)  # fmt: skip
def test_a_url_that_leads_elsewhere_than_it_says_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        StockItem(**{**ITEM, "url": url})


@pytest.mark.parametrize(
    "url",
    ["http://a.example", "https://shop.example:8443/i?id=1&x=%3Cb%3E#top", "http://127.0.0.1:80/", "https://[::1]:8/x"],
)
def test_a_plain_web_address_is_allowed(url: str) -> None:
    assert check_url(url, "url") == url


def test_a_scenario_gives_its_catalogue_and_a_feed_its_ads() -> None:
    shop = scenario_stock(load_scenario("shop"), shop_url="https://my.example/", count=3)
    assert len(shop.stock) == len(shop.popularity) == load_scenario("shop").world.catalogue.items
    assert shop.stock.item(7).url == "https://my.example/item/7" and shop.stock.item(7).count == 3
    assert len({shop.stock.item(number).category for number in range(len(shop.stock))}) > 1
    tiny = load_scenario("tiny")
    assert len(scenario_stock(tiny).stock) == len(scenario_stock(tiny).popularity)
    with pytest.raises(ValueError, match="is no feed"):
        scenario_stock(load_scenario("auctionnet"))


def test_json_and_csv_files_give_the_same_stock(tmp_path: Path) -> None:
    items = [ITEM, {**ITEM, "title": 'A "quoted", long\nname', "count": 0}]
    (tmp_path / "a.json").write_text(json.dumps(items))
    lines = ["title,price_micros,count,category,url"]
    lines += [
        f'"{one["title"]}"'.replace('"quoted"', '""quoted""') + ",10000000," + f"{one['count']},1,{one['url']}"
        for one in items
    ]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    one, other = read_stock(tmp_path / "a.json"), read_stock(tmp_path / "a.csv")
    assert [one.item(number) for number in (0, 1)] == [other.item(number) for number in (0, 1)]
    assert one.identity == other.identity and one.item(1).title == 'A "quoted", long\nname'


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.json", b"{", "a.json: "),
        ("a.json", b"[]", "the stock has 0 items"),
        ("a.json", json.dumps([{**ITEM, "url": "javascript:1"}]).encode(), "url is 'javascript:1'"),
        ("a.json", json.dumps([ITEM, {**ITEM, "count": "5"}]).encode(), r"\$\[1\].count"),
        ("a.json", json.dumps([{**ITEM, "__class__": "x"}]).encode(), "__class__"),
        ("a.json", json.dumps([{"item": 1}]).encode(), f"unknown field `item`; allowed are {FIELDS} - at `.*0"),
        ("a.json", json.dumps([{"title": "A"}]).encode(), f"field `price_micros`; required are {FIELDS} - at"),
        ("a.csv", f"{FIELDS.replace(', ', ',')},colour\nA,1,1,0,https://a.b/,red\n".encode(), f"`colour`; .*{FIELDS}"),
        ("a.csv", b"title\nA\n", f"item 0: .*`price_micros`; required are {FIELDS}"),
        ("a.csv", b"title,price_micros,count,category,url\nA,1,x,0,https://a.b/\n", "item 0: .*count"),
        ("a.csv", b"title,price_micros,count,category,url\nA,1,1,0,https://a.b/,more\n", "item 0 has more cells"),
        ("a.csv", b"title,price_micros,count,category,url\nA,1\n", "item 0: .*count"),
        ("a.csv", b"title,price_micros,count,category,url\n\xff,1,1,0,https://a.b/\n", "a.csv: "),
        ("a.txt", b"", "allowed is .json or .csv"),
    ],
)  # fmt: skip
def test_a_file_with_a_fault_is_refused_and_the_fault_named(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=told):
        read_stock(tmp_path / name)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none.json cannot be read"):
        read_stock(tmp_path / "none.json")
