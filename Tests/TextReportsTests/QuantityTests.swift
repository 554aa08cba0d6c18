import TextReports
import Testing

@Suite struct QuantityTests {
  @Test(arguments: [
    ("0", 0), ("4096", 4096), ("32K", 32768), ("32k", 32768), ("1M", 1_048_576),
    ("2g", 2_147_483_648),
  ])
  func `a size is digits and a suffix`(text: String, value: Int) {
    #expect(Quantity.parse(text) == value)
  }

  @Test(arguments: [
    "", "K", "-1", "+1", "1.5K", "1KB", "0x10", " 1", "1 ", "1KK", "1T", "9223372036854775808",
    "9223372036854775807K", "nan", "١",
  ])
  func `anything else is no size`(text: String) {
    #expect(Quantity.parse(text) == nil)
  }

  @Test func `decimals are rounded, and keep their zeros`() {
    #expect(Quantity.fixed(3.14159, 2) == "3.14")
    #expect(Quantity.fixed(0.996, 2) == "1.00")
    #expect(Quantity.fixed(-0.25, 1) == "-0.3")
    #expect(Quantity.fixed(-0.001, 2) == "0.00")
    #expect(Quantity.fixed(7, 0) == "7")
    #expect(Quantity.fixed(.nan, 2) == "nan")
  }

  @Test func `numbers are grouped, and times and bytes have units`() {
    #expect(Quantity.grouped(0) == "0")
    #expect(Quantity.grouped(999) == "999")
    #expect(Quantity.grouped(1_234_567) == "1,234,567")
    #expect(Quantity.grouped(-1000) == "-1,000")
    #expect(Quantity.seconds(0.0421) == "0.042 s")
    #expect(Quantity.seconds(3.21) == "3.21 s")
    #expect(Quantity.seconds(48.52) == "48.5 s")
    #expect(Quantity.seconds(125) == "2 min 05 s")
    #expect(Quantity.seconds(7260) == "2 h 01 min")
    #expect(Quantity.bytes(812) == "812 bytes")
    #expect(Quantity.bytes(31_478_424) == "31.5 MB")
    #expect(Quantity.bytes(1_480_000_000) == "1.48 GB")
    #expect(Quantity.percent(0.1234) == "12.3 %")
  }
}
