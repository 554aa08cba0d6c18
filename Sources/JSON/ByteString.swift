/// A text as a key: equal, ordered and hashed by its UTF-8 bytes.
///
/// For names from files. `String` itself compares and hashes its normal form: canonically equivalent
/// names become one, and a name of many combining marks takes quadratic time. Hashing here is linear
/// and seeded anew in each process.
package struct ByteString: Hashable, Comparable, Sendable {
  package let text: String

  package init(_ text: String) { self.text = text }

  package static func == (left: ByteString, right: ByteString) -> Bool {
    haveSameBytes(left.text, right.text)
  }

  package static func < (left: ByteString, right: ByteString) -> Bool {
    left.text.utf8.lexicographicallyPrecedes(right.text.utf8)
  }

  package func hash(into hasher: inout Hasher) {
    var text = text
    text.withUTF8 { bytes in
      hasher.combine(bytes.count)
      hasher.combine(bytes: UnsafeRawBufferPointer(bytes))
    }
  }
}

/// Whether both texts are the same UTF-8 bytes.
package func haveSameBytes(_ left: String, _ right: String) -> Bool {
  let (left, right) = (left.utf8, right.utf8)
  guard left.count == right.count else { return false }
  let fast = left.withContiguousStorageIfAvailable { left in
    right.withContiguousStorageIfAvailable { left.elementsEqual($0) }
  }
  if case .some(.some(let same)) = fast { return same }
  return left.elementsEqual(right)
}
