package import Compute

/// Queries and keys from elsewhere, in the place of those that a model without training would give:
/// random weights attend to nothing in particular, so their indices would say nothing about speed.
package protocol QueryKeyInjection: AnyObject, Sendable {
  /// Fills k, [rows, keyValueHeads, headDim], as after rotary embedding; row r stands at
  /// firstPosition + r.
  func replaceKeys(_ k: Tensor, firstPosition: Int) throws

  /// Fills q, [rows, queryHeads, headDim], likewise.
  func replaceQueries(_ q: Tensor, firstPosition: Int) throws

  /// The time that this took so far.
  var seconds: Double { get }
}
