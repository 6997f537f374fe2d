from pathlib import Path

import numpy as np
import pytest

from tribid.envs.attribution.shoppers import CHANNEL_NAMES, ShopperLaw, live
from tribid.envs.attribution.touch_file import read_touch_log, write_touch_log
from tribid.envs.attribution.touches import Touches
from tribid.envs.stages import Event

HEAD = "user,brand,time_hours,event,channel,value\n"


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_log_read_back_is_the_one_written(tmp_path: Path, ending: str):
    lived = live(ShopperLaw(pairs=90, days=20), 1)
    path = tmp_path / f"log.{ending}"
    write_touch_log(path, lived.ads, lived.orders, channels=CHANNEL_NAMES, industry=np.array([2, 0, 1]))
    log = read_touch_log(path)
    assert log.channels == tuple(sorted(CHANNEL_NAMES)) and log.industry.tolist() == [2, 0, 1]
    assert len(lived.orders) > 0
    order = np.argsort(lived.ads.time_hours, kind="stable")
    names = [log.channels[c] for c in log.touches.channel]
    assert names == [CHANNEL_NAMES[c] for c in lived.ads.channel[order]]
    assert [log.users[u] for u in log.touches.user] == [str(u) for u in lived.ads.user[order]]
    np.testing.assert_array_equal(log.touches.time_hours, lived.ads.time_hours[order])
    np.testing.assert_array_equal(log.orders.time_hours, np.sort(lived.orders.time_hours))


def test_texts_name_users_brands_and_channels_and_a_missing_value_is_one(tmp_path: Path):
    path = tmp_path / "log.csv"
    path.write_text(HEAD + "ann,x,1,click,mail,\nbob,x,1.5,exposure,feed,\nann,x,2,order,,\nann,x,3,order,,7\n")
    log = read_touch_log(path)
    assert log.users == ("ann", "bob") and log.channels == ("feed", "mail") and log.industries == ("all",)
    assert log.touches.channel.tolist() == [1, 0] and log.touches.event.tolist() == [Event.CLICK, Event.EXPOSURE]
    assert log.orders.value.tolist() == [1.0, 7.0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("user,brand\n1,2\n", "lacks the columns time_hours, event; it has 'user', 'brand'"),
        (HEAD + "1,1,1,clicked,feed,\n", "event of row 1 is 'clicked'; allowed is one of exposure, category_search"),
        (HEAD + "1,1,1,click,feed,\n1,1,,click,feed,\n", "time_hours of row 2 is None; allowed is a finite number"),
        (HEAD + "1,1,soon,click,feed,\n", "time_hours has the type String"),
        (HEAD + "1,1,1,click,,\n1,1,1,click,feed,\n", "channel of row 1 is None; allowed is a channel for every touch"),
        (HEAD + "1,1,1,order,,-3\n", "value of row 1 is -3; allowed is a finite number from 0"),
        (HEAD + "1.5,1,1,click,feed,\n", "user has the type Float64"),
        (HEAD + ",1,1,click,feed,\n2,1,1,click,feed,\n", "user of row 1 is None"),
        (HEAD, "is empty"),
        (
            "user,brand,time_hours,event,chanel\n1,1,1,click,feed\n",
            "unknown column 'chanel'; allowed are user, brand, time_hours, event, channel, value, industry",
        ),
        ("user,brand,time_hours,event,a,b\n1,1,1,click,2,3\n", "unknown columns 'a', 'b'"),
        (
            "user,brand,time_hours,event,industry\n1,1,1,click,toys\n1,1,1,click,food\n",
            "industry of row 1 is 'toys'; allowed is one industry for each brand",
        ),
    ],
)
def test_a_fault_is_named_with_its_file_column_and_row(tmp_path: Path, text: str, told: str):
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=told) as refused:
        read_touch_log(path)
    assert str(path) in str(refused.value)


def test_a_file_that_is_not_there_or_is_no_table_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="no file"):
        read_touch_log(tmp_path / "none.csv")
    (tmp_path / "log.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(ValueError, match="is no readable parquet file"):
        read_touch_log(tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=r"ends in '\.txt'; allowed are \.parquet and \.csv"):
        read_touch_log(tmp_path / "log.txt")


def test_a_log_without_channels_has_one(tmp_path: Path):
    path = tmp_path / "log.csv"
    path.write_text("user,brand,time_hours,event\n1,1,1,view\n")
    assert read_touch_log(path).channels == ("all",)
    assert isinstance(read_touch_log(path).touches, Touches)
