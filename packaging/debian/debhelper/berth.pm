# The sequence "berth" of dh: dh_berth where the relations of libraries are found, too.
use strict;
use warnings;
use Debian::Debhelper::Dh_Lib;

insert_after('dh_shlibdeps', 'dh_berth');

1;
