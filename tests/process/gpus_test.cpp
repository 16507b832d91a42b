// Which devices a slot gets, as a table.

#include "supervisor/process/gpus.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/process/harness.hpp"

namespace bulkhead::process::testing {
namespace {

using Names = std::vector<std::string>;
using Kind = Gpus::Kind;

Gpus parsed(std::string_view text) {
  auto result = parse_gpus(text);
  if (auto* wrong = std::get_if<std::string>(&result)) ADD_FAILURE() << *wrong;
  return std::get<Gpus>(result);
}

TEST(Gpus, AreNamedByOneWordOrAList) {
  EXPECT_EQ(parsed("none").kind, Kind::None);
  EXPECT_EQ(parsed(" all ").kind, Kind::All);
  EXPECT_EQ(parsed("0").listed, Names{"0"});
  EXPECT_EQ(parsed("3, 1,GPU-5fd3a1,MIG-1/2").listed, (Names{"3", "1", "GPU-5fd3a1", "MIG-1/2"}));
  for (const char* wrong :
       {"", ",", "0,", "0,,1", "-1", "0-3", "cuda:0", "0x1", "two", "0,1,0", "GPU-", "99999", "all,0"})
    EXPECT_TRUE(std::holds_alternative<std::string>(parse_gpus(wrong))) << wrong;
}

TEST(Gpus, AllAreThoseThatAreThereOrThoseWeWereGiven) {
  Gpus all{Kind::All, {}};
  EXPECT_EQ(devices_of(all, 3, std::nullopt), (Names{"0", "1", "2"}));
  EXPECT_EQ(devices_of(all, 0, std::nullopt), Names{});
  EXPECT_EQ(devices_of(all, 8, "4,6"), (Names{"4", "6"}));
  EXPECT_EQ(devices_of(all, 8, "GPU-a1,GPU-b2"), (Names{"GPU-a1", "GPU-b2"}));
  EXPECT_EQ(devices_of(all, 8, ""), Names{});
  EXPECT_EQ(devices_of(all, 8, "1,-1,2"), Names{"1"}) << "CUDA stops at the first that is none";
  EXPECT_EQ(devices_of(parsed("5,2"), 1, "0"), (Names{"5", "2"}));
  EXPECT_EQ(devices_of(Gpus{Kind::None, {}}, 3, std::nullopt), Names{});
}

struct Share {
  std::size_t devices, slots;
  Names each;
};

TEST(Gpus, AreDealtOut) {
  Gpus all{Kind::All, {}};
  for (const Share& share : std::initializer_list<Share>{
           {1, 1, {"0"}},
           {4, 4, {"0", "1", "2", "3"}},
           {4, 2, {"0,1", "2,3"}},
           {4, 1, {"0,1,2,3"}},
           {5, 2, {"0,1,2", "3,4"}},
           {8, 3, {"0,1,2", "3,4,5", "6,7"}},
           {2, 5, {"0", "1", "0", "1", "0"}},
           {0, 2, {"", ""}},
       }) {
    Names devices = devices_of(all, share.devices, std::nullopt);
    for (std::size_t slot = 0; slot < share.slots; ++slot)
      EXPECT_EQ(visible_devices(all, devices, slot, share.slots), share.each[slot])
          << share.devices << "/" << share.slots;
    EXPECT_EQ(sharing_remark(all, devices, share.slots).has_value(), share.slots > share.devices);
  }
}

TEST(Gpus, NoneIsAnEmptyListAndUntouchedIsNoList) {
  EXPECT_EQ(visible_devices(Gpus{Kind::None, {}}, {}, 0, 1), "");
  EXPECT_EQ(visible_devices(Gpus{}, {}, 0, 1), std::nullopt);
  EXPECT_FALSE(sharing_remark(Gpus{}, {}, 4));
  EXPECT_FALSE(sharing_remark(Gpus{Kind::None, {}}, {}, 4));
}

TEST(Gpus, AreCountedByTheirDeviceFiles) {
  TemporaryDirectory dev;
  for (const char* name : {"nvidia0", "nvidia1", "nvidia12", "nvidiactl", "nvidia-uvm", "nvidia", "nvme0", "null"})
    std::ofstream(dev.path() / name) << "";
  EXPECT_EQ(count_gpus(dev.path()), 3U);
  EXPECT_EQ(count_gpus(dev.path() / "none"), 0U);
}

}  // namespace
}  // namespace bulkhead::process::testing
