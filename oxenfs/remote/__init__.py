"""Where commits, trees and blobs come from and go to."""
